// SPDX-License-Identifier: Apache-2.0
#include "harness/record/results.h"

#include "base/errors.h"
#include "base/files.h"

namespace dualparal {
namespace fs = std::filesystem;

nlohmann::ordered_json result_header(const GenerateOptions& o, const std::string& model_name, int64_t latent_frames,
                                     int64_t world_size) {
  return {{"schema", kResultSchema},
          {"kind", "measured"},
          {"experiment", nullptr},
          {"strategy", o.run.strategy},
          {"options", o.run.strategy_options},
          {"world_size", world_size},
          {"model", model_name},
          {"device", o.model.device},
          {"dtype", o.model.dtype},
          {"frames", *o.video.frames},
          {"latent_frames", latent_frames},
          {"height", *o.video.height},
          {"width", *o.video.width},
          {"steps", *o.sampling.steps},
          {"seed", o.sampling.seed}};
}

std::vector<nlohmann::ordered_json> read_results(const fs::path& file) {
  const std::string content = read_file(file);
  std::vector<nlohmann::ordered_json> records;
  size_t begin = 0;
  for (int64_t number = 1; begin < content.size(); ++number) {
    const size_t newline = content.find('\n', begin);
    const std::string line = content.substr(begin, newline - begin);
    if (newline == std::string::npos) break;  // cut off while it was written
    begin = newline + 1;
    if (line.empty()) continue;
    try {
      records.push_back(nlohmann::ordered_json::parse(line));
    } catch (const nlohmann::json::exception& error) {
      fail("{}:{}: not a result line: {}", file.string(), number, error.what());
    }
    const auto& record = records.back();
    check(record.is_object() && record.contains("schema") && record["schema"] == kResultSchema,
          "{}:{}: expected a result line of schema {}, got {}", file.string(), number, kResultSchema,
          record.is_object() && record.contains("schema") ? record["schema"].dump() : "no schema");
  }
  return records;
}

void drop_unfinished_line(const fs::path& file) {
  if (!fs::exists(file)) return;
  const std::string content = read_file(file);
  const size_t last = content.rfind('\n');
  const size_t whole = last == std::string::npos ? 0 : last + 1;
  if (whole < content.size()) fs::resize_file(file, whole);
}

}  // namespace dualparal
