// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <filesystem>

namespace dualparal {

/// One process at a time, with everything that it starts, works in a folder. Child processes inherit the lock: it ends
/// when the last of them does, even if this process was killed before.
class FolderLock {
 public:
  /// Waits for whoever holds the lock; Error after `patience`. A file system without locks is no error.
  FolderLock(const std::filesystem::path& folder, std::chrono::seconds patience);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int descriptor_;
};

}  // namespace dualparal
