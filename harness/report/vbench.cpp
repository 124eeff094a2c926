// SPDX-License-Identifier: Apache-2.0
#include "harness/report/vbench.h"

#include <fmt/format.h>

#include <map>

#include "base/errors.h"
#include "base/files.h"
#include "base/json.h"
#include "harness/record/results.h"
#include "harness/report/report_groups.h"

namespace dualparal {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::ordered_json;

void copy_whole(const fs::path& from, const fs::path& to) {
  PendingFile file(to);
  std::error_code error;
  fs::copy_file(from, file.path(), fs::copy_options::overwrite_existing, error);
  check(!error, "{}: cannot copy to {}: {}", from.string(), to.string(), error.message());
  file.commit();
}

}  // namespace

VbenchExport export_vbench(const std::vector<fs::path>& results, const fs::path& folder) {
  VbenchExport done;
  Json prompts = Json::object(), index = Json::object();
  std::map<std::string, int64_t> seen;    // point -> lines with a video so far
  std::map<std::string, fs::path> files;  // file name -> the video
  for (const auto& given : results) {
    const fs::path lines = fs::is_directory(given) ? given / "results.jsonl" : given;
    for (const ResultLine& line : read_results(lines)) {
      const std::string video = line.video.value_or(""), point = line.point.value_or("");
      const std::string prompt = text_at(line.config, "prompt");
      if (video.empty() || point.empty() || prompt.empty()) {
        ++done.without_video;
        continue;
      }
      const std::string name = fmt::format("{}-{}.mp4", point, seen[point]++);
      files[name] = lines.parent_path() / video;
      prompts[name] = prompt;
      index[name] = {{"results", fs::absolute(lines).lexically_normal().string()},
                     {"point", point},
                     {"repeat", line.repeat.value_or(0)}};
      ++done.videos;
    }
  }
  check(done.videos > 0, "--vbench-export: none of {} result lines has a video; set `videos: true` in the experiment",
        done.without_video);
  // VBench refuses a folder with a video that has no prompt.
  if (fs::is_directory(folder / "videos"))
    for (const auto& file : fs::directory_iterator(folder / "videos"))
      check(files.contains(file.path().filename().string()),
            "{}: not a video of these results; export to an empty folder", file.path().string());
  for (const auto& [name, video] : files) {
    check(fs::exists(video), "{}: the video of point {} is missing", video.string(), index[name]["point"].dump());
    copy_whole(video, folder / "videos" / name);
  }
  write_file(folder / "prompts.json", prompts.dump(2) + "\n");
  write_file(folder / "index.json", index.dump(2) + "\n");
  return done;
}

}  // namespace dualparal
