// SPDX-License-Identifier: Apache-2.0
#include "harness/run/agreement.h"

#include <filesystem>

#include "base/errors.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/parse_json.h"
#include "harness/record/provenance.h"

namespace dualparal {
namespace {

constexpr size_t kLongestValue = 1000;  // the store's messages have a limit

// A list of a thousand prompts by its hash.
std::string shortened(std::string value) {
  return value.size() <= kLongestValue ? value
                                       : fmt::format("{} characters of hash {}", value.size(), text_hash(value));
}

}  // namespace

void check_agreement(Communicator& comm, const GenerateOptions& options) {
  if (comm.world_size() == 1) return;
  nlohmann::json mine = nlohmann::json(to_json(options));
  mine["model configuration"] =
      text_hash(read_file(std::filesystem::path(options.model.dir) / "transformer" / "config.json"));
  mine["program"] = program_hash();
  mine["snapshot"] = options.snapshots.folder;
  mine["resume"] = options.snapshots.resume;
  for (const char* own : {"model", "threads", "nproc"}) mine.erase(own);
  for (auto& [name, value] : mine.items())
    if (value.is_array() || value.is_string()) value = shortened(value.dump());
  const auto all = comm.gather_patiently(mine.dump());  // rank 0 may still decode the video before
  const auto first = parse_json(all[0]);
  for (size_t rank = 1; rank < all.size(); ++rank) {
    const auto other = parse_json(all[rank]);
    for (const auto& [name, value] : first.items())
      check(other.contains(name) && other[name] == value, "rank {} was started with another {} than rank 0: {} and {}",
            rank, name, other.contains(name) ? other[name].dump() : "none", value.dump());
  }
}

void broadcast_from_first(Communicator& comm, at::Tensor& tensor) {
  const auto texts = comm.gather(tensor.defined() ? nlohmann::json(tensor.sizes().vec()).dump() : "null");
  const auto shape = parse_json(texts[0]);
  if (shape.is_null() || comm.world_size() == 1) return;
  tensor = comm.rank() == 0 ? tensor.to(at::kFloat) : at::empty(shape.get<std::vector<int64_t>>());
  comm.broadcast(tensor);
}

}  // namespace dualparal
