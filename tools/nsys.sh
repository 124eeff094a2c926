#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Profiles one run of `dualparal generate` with Nsight Systems: one report for each rank. See docs/profiling.md.
set -euo pipefail

usage() {
  cat <<'END'
usage: tools/nsys.sh [-o FOLDER] [-n RANKS] [-- NSYS FLAGS --] GENERATE FLAGS
  -o FOLDER   reports FOLDER/rank0.nsys-rep, ... [nsys]
  -n RANKS    ranks to start on this machine, in place of --nproc [1]
Under torchrun, mpirun or srun it profiles the rank that it is started as, and -n is left out.
Environment: NSYS (the profiler, default: nsys), DUALPARAL (the program, default: build/dualparal)
END
}
stop() { echo "error: $1" >&2; exit "${2:-1}"; }

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
nsys=${NSYS:-nsys} program=${DUALPARAL:-$root/build/dualparal} folder=nsys ranks=1 flags=()
while [ $# -gt 0 ]; do
  case $1 in
    -o) folder=${2:?-o needs a folder}; shift 2 ;;
    -n) ranks=${2:?-n needs a number}; shift 2 ;;
    -h|--help) usage; exit 0 ;;
    --) shift
        while [ $# -gt 0 ] && [ "$1" != -- ]; do flags+=("$1"); shift; done
        [ $# -gt 0 ] || stop "the flags for nsys end with a second --" 2
        shift; break ;;
    *) break ;;
  esac
done
[ $# -gt 0 ] || { usage >&2; stop "no flags for generate" 2; }
[[ $ranks =~ ^[1-9][0-9]*$ ]] || stop "-n: expected a number of ranks, got '$ranks'" 2
for flag in "$@"; do
  [[ $flag != --nproc* ]] || stop "--nproc: use -n, so that every rank has a report of its own" 2
done
command -v "$nsys" >/dev/null || stop "$nsys is not installed: it is part of the CUDA toolkit (package nsight-systems-cli); without it, --timeline FILE shows a run in ui.perfetto.dev"
[ -x "$program" ] || stop "$program does not exist: ./run build, or set DUALPARAL"
mkdir -p "$folder"

# profile RANK ARGS...: what is traced can be overridden by the flags given, which come later
profile() {
  local rank=$1; shift
  exec "$nsys" profile --trace=nvtx,cuda,cudnn,cublas,osrt --sample=none --cpuctxsw=none --force-overwrite=true \
    --output="$folder/rank$rank" "${flags[@]}" "$program" generate "$@"
}

launched=${RANK:-${OMPI_COMM_WORLD_RANK:-${PMI_RANK:-}}}
[ "${SLURM_STEP_NUM_TASKS:-1}" -eq 1 ] || launched=${launched:-${SLURM_PROCID:-}}
if [ -n "$launched" ]; then profile "$launched" "$@"; fi
if [ "$ranks" -eq 1 ]; then profile 0 "$@"; fi

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true' INT TERM
for ((rank = 0; rank < ranks; ++rank)); do
  (
    export RANK=$rank LOCAL_RANK=$rank WORLD_SIZE=$ranks LOCAL_WORLD_SIZE=$ranks MASTER_ADDR=127.0.0.1 MASTER_PORT=$port
    profile "$rank" "$@"
  ) &
  pids+=($!)
done
status=0
for pid in "${pids[@]}"; do wait "$pid" || status=1; done
exit $status
