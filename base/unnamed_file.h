// SPDX-License-Identifier: Apache-2.0
// What is too much for memory and belongs to one process.
#pragma once

#include <cstdint>
#include <string>

namespace dualparal {

/// In the folder for temporary files; gone with the process, however it ends.
class UnnamedFile {
 public:
  /// holds: for errors, what it holds: "latents". Error if the file cannot be made.
  explicit UnnamedFile(std::string holds);
  ~UnnamedFile();
  UnnamedFile(const UnnamedFile&) = delete;
  UnnamedFile& operator=(const UnnamedFile&) = delete;

  /// All of it, at a place in bytes. Error with the system's reason, for a full disk among others.
  void write(const void* data, int64_t bytes, int64_t place);
  void read(void* data, int64_t bytes, int64_t place) const;

 private:
  std::string holds_;
  int file_;
};

}  // namespace dualparal
