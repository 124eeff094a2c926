// SPDX-License-Identifier: Apache-2.0
#include "model/checkpoint/checkpoint.h"

#include <set>

#include "base/errors.h"
#include "base/files.h"
#include "base/parse_json.h"

namespace dualparal {
namespace fs = std::filesystem;
namespace {

constexpr const char* kStems[] = {"diffusion_pytorch_model", "model"};

}  // namespace

Checkpoint::Checkpoint(const fs::path& part_dir) : dir_(part_dir) {
  check(fs::is_directory(dir_), "{}: no such folder", dir_.string());
  for (const char* stem : kStems) {
    const fs::path index_file = dir_ / fmt::format("{}.safetensors.index.json", stem);
    const fs::path single_file = dir_ / fmt::format("{}.safetensors", stem);
    if (fs::exists(index_file)) {
      std::map<std::string, std::string> weight_map;
      try {
        weight_map = parse_json(read_file(index_file)).at("weight_map").get<decltype(weight_map)>();
      } catch (const nlohmann::json::exception& error) {
        fail("{}: expected an object 'weight_map' of tensor and file names ({})", index_file.string(), error.what());
      }
      std::map<std::string, std::shared_ptr<SafetensorsFile>> shards;
      for (const auto& [name, shard] : weight_map) {
        check(fs::path(shard).filename() == fs::path(shard),
              "{}: tensor '{}' is said to be in '{}', outside the folder", index_file.string(), name, shard);
        auto& file = shards[shard];
        if (!file) file = SafetensorsFile::open(dir_ / shard);
        check(file->contains(name), "{}: tensor '{}' is missing; {} says it is there", file->path().string(), name,
              index_file.filename().string());
        files_[name] = file;
      }
      for (const auto& [shard, file] : shards)
        for (const auto& [name, entry] : file->entries())
          check(weight_map.contains(name), "{}: surplus tensor '{}', not listed in {}", file->path().string(), name,
                index_file.filename().string());
      return;
    }
    if (fs::exists(single_file)) {
      const auto file = SafetensorsFile::open(single_file);
      for (const auto& [name, entry] : file->entries()) files_[name] = file;
      return;
    }
  }
  fail(
      "{}: no weights: expected {}.safetensors or {}.safetensors, or one of them with .index.json "
      "(--random-weights does without)",
      dir_.string(), kStems[0], kStems[1]);
}

bool Checkpoint::is_in(const fs::path& part_dir) {
  for (const char* stem : kStems)
    for (const char* ending : {".safetensors", ".safetensors.index.json"})
      if (fs::exists(part_dir / (std::string(stem) + ending))) return true;
  return false;
}

std::string Checkpoint::file_of(const std::string& name) const {
  const auto found = files_.find(name);
  if (found != files_.end()) return found->second->path().string();
  std::set<std::string> files;
  for (const auto& [other, file] : files_) files.insert(file->path().filename().string());
  if (files.size() == 1) return (dir_ / *files.begin()).string();
  return fmt::format("{} ({} files, {} to {})", dir_.string(), files.size(), *files.begin(), *files.rbegin());
}

const SafetensorsFile::Entry& Checkpoint::entry(const std::string& name) const {
  const auto found = files_.find(name);
  check(found != files_.end(), "{}: tensor '{}' is missing", file_of(name), name);
  return found->second->entries().at(name);
}

at::Tensor Checkpoint::tensor(const std::string& name) const {
  const auto found = files_.find(name);
  check(found != files_.end(), "{}: tensor '{}' is missing", file_of(name), name);
  return found->second->tensor(name);
}

int64_t Checkpoint::stored_bytes() const {
  int64_t bytes = 0;
  for (const auto& [name, file] : files_) {
    const auto& entry = file->entries().at(name);
    bytes += static_cast<int64_t>(entry.end - entry.begin);
  }
  return bytes;
}

}  // namespace dualparal
