// SPDX-License-Identifier: Apache-2.0
// One part of a checkpoint (transformer/, vae/, text_encoder/): its tensors, wherever the shards put them.
#pragma once

#include <ATen/ATen.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "model/checkpoint/safetensors.h"

namespace dualparal {

/// Reads `<stem>.safetensors.index.json` with its shards, or the single `<stem>.safetensors`, where stem is
/// diffusion_pytorch_model or model. Only headers are read here.
class Checkpoint {
 public:
  explicit Checkpoint(const std::filesystem::path& part_dir);
  /// Whether the folder has weights at all.
  static bool is_in(const std::filesystem::path& part_dir);

  const std::filesystem::path& dir() const { return dir_; }
  bool contains(const std::string& name) const { return files_.contains(name); }
  /// The file that holds a tensor, for messages; if there is none, the file, or the folder with its files, that lacks
  /// it.
  std::string file_of(const std::string& name) const;
  const SafetensorsFile::Entry& entry(const std::string& name) const;
  /// On mapped pages, in the file's dtype.
  at::Tensor tensor(const std::string& name) const;
  const std::map<std::string, std::shared_ptr<SafetensorsFile>>& files() const { return files_; }
  /// Bytes of all tensors as stored.
  int64_t stored_bytes() const;

 private:
  std::filesystem::path dir_;
  std::map<std::string, std::shared_ptr<SafetensorsFile>> files_;  // tensor name -> its file
};

}  // namespace dualparal
