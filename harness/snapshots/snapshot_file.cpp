// SPDX-License-Identifier: Apache-2.0
#include "harness/snapshots/snapshot_file.h"

#include <zlib.h>

#include "base/errors.h"
#include "base/parse_json.h"
#include "model/checkpoint/safetensors.h"

namespace dualparal {
namespace {

constexpr int64_t kFormat = 1;

uint64_t sum_of(const void* data, size_t bytes) { return crc32_z(0, static_cast<const Bytef*>(data), bytes); }

// Of everything that is read back: a bit that flips anywhere changes it, or makes the file unreadable.
std::string checksum(const RunState& state, const std::string& about, const std::string& numbers) {
  std::string text = about + numbers;
  for (const auto& [name, tensor] : state.tensors)
    text += fmt::format("\n{} {} [{}] {:08x}", name, c10::toString(tensor.scalar_type()),
                        fmt::join(tensor.sizes(), ", "), sum_of(tensor.const_data_ptr(), tensor.nbytes()));
  return fmt::format("{:08x}", sum_of(text.data(), text.size()));
}

}  // namespace

void write_snapshot_file(const std::filesystem::path& path, const RunState& state,
                         const nlohmann::ordered_json& about) {
  RunState here{.numbers = state.numbers};
  for (const auto& [name, tensor] : state.tensors) here.tensors[name] = tensor.cpu().contiguous();
  nlohmann::ordered_json whole = about;
  whole["format"] = kFormat;
  const std::string text = whole.dump(), numbers = nlohmann::json(here.numbers).dump();
  write_safetensors(path, here.tensors,
                    {{"about", text}, {"numbers", numbers}, {"checksum", checksum(here, text, numbers)}});
}

SnapshotFile read_snapshot_file(const std::filesystem::path& path, bool verify) {
  const auto file = SafetensorsFile::open(path);
  const auto text = [&](const char* name) {
    const auto found = file->metadata().find(name);
    check(found != file->metadata().end(), "{}: not a snapshot's file: it has no '{}'", path.string(), name);
    return found->second;
  };
  SnapshotFile out;
  try {
    out.about = parse_json(text("about"));
    out.state.numbers = parse_json(text("numbers")).get<std::map<std::string, int64_t>>();
    check(out.about.at("format") == kFormat, "{}: a snapshot of format {}, this program reads {}", path.string(),
          out.about["format"].dump(), kFormat);
  } catch (const nlohmann::json::exception& error) {
    fail("{}: damaged: {}", path.string(), error.what());
  }
  for (const auto& [name, entry] : file->entries()) out.state.tensors[name] = file->tensor(name);
  if (!verify) return out;
  const std::string expected = text("checksum"), found = checksum(out.state, text("about"), text("numbers"));
  check(found == expected, "{}: damaged: its checksum is {}, expected {}", path.string(), found, expected);
  return out;
}

}  // namespace dualparal
