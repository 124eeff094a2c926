# SPDX-License-Identifier: Apache-2.0
# Part of ./run: videos judged by VBench, for who has its package and its weights.

vbench_dimensions=(subject_consistency background_consistency motion_smoothness imaging_quality)

# judge_videos FOLDER [DIMENSION...]: FOLDER/vbench/ gets the videos, VBench's scores, result lines with them, and figures
judge_videos() {
  local folder=$1 judge=${VBENCH:-} judged=$1/vbench
  shift
  [ $# -eq 0 ] || vbench_dimensions=("$@")
  [ -n "$judge" ] || judge=$(type -P vbench || true)
  [ -n "$judge" ] || stop "vbench: no command 'vbench': pip install vbench into an environment of its own (it wants older libraries than ours) and name it: VBENCH=/path/to/vbench ./run vbench $folder"
  compile
  rm -rf "$judged/videos" "$judged/scores"
  "$build/dualparal" report "$folder/results.jsonl" --vbench-export "$judged" >&2
  "$judge" evaluate --videos_path "$judged/videos" --prompt_file "$judged/prompts.json" --mode custom_input \
    --output_path "$judged/scores" --dimension "${vbench_dimensions[@]}" >&2 || stop "vbench: it failed, see above"
  "$python" "$here/plots/vbench.py" "$judged" "$judged/scores" -o "$judged/results.jsonl" >&2
  plots "$judged/results.jsonl" >&2
  "$python" - "$judged/results.jsonl" <<'END'
import json, statistics, sys
lines = [json.loads(row) for row in open(sys.argv[1])]
scores = [line["quality"]["vbench"] for line in lines if "vbench" in (line.get("quality") or {})]
print(f"{len(scores)} videos: " + ", ".join(f"{name} {statistics.fmean(s[name] for s in scores):.4f}" for name in scores[0]))
END
  say "$judged/: results.jsonl with the scores (quality.vbench), figures/"
}
