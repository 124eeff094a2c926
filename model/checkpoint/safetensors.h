// SPDX-License-Identifier: Apache-2.0
// safetensors files: read without a copy (memory-mapped), written whole or not at all.
// Format: https://github.com/huggingface/safetensors (8-byte header length, JSON header, data).
#pragma once

#include <ATen/ATen.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace dualparal {

class SafetensorsFile : public std::enable_shared_from_this<SafetensorsFile> {
 public:
  struct Entry {
    at::ScalarType dtype;
    std::vector<int64_t> shape;
    size_t begin, end;  ///< bytes, from the start of the data
  };

  /// Maps the file and checks its whole header. Throws Error (naming the file, and the tensor) for a file that is
  /// no safetensors file, is truncated, or whose header points outside it, overlaps, or contradicts itself.
  static std::shared_ptr<SafetensorsFile> open(const std::filesystem::path& path);
  ~SafetensorsFile();

  const std::map<std::string, Entry>& entries() const { return entries_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::filesystem::path& path() const { return path_; }
  bool contains(const std::string& name) const { return entries_.contains(name); }

  /// A tensor on the mapped pages: no copy is made, the file stays mapped as long as the tensor lives.
  at::Tensor tensor(const std::string& name) const;

 private:
  SafetensorsFile() = default;
  void parse_header();

  std::filesystem::path path_;
  const char* mapping_ = nullptr;
  size_t file_bytes_ = 0;
  size_t data_offset_ = 0;
  std::map<std::string, Entry> entries_;
  std::map<std::string, std::string> metadata_;
};

/// Reads one tensor of a small file (noise, prompt embeddings) and checks its shape; -1 in `shape` allows any size.
at::Tensor read_tensor(const std::filesystem::path& path, const std::string& name, const std::vector<int64_t>& shape);

/// Writes tensors (any device; contiguous copies are made). Complete or absent at `path`.
void write_safetensors(const std::filesystem::path& path, const std::map<std::string, at::Tensor>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace dualparal
