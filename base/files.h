// SPDX-License-Identifier: Apache-2.0
// Output files that are complete or absent, never half written.
#pragma once

#include <filesystem>
#include <string>

namespace dualparal {

/// A path beside `target` to write to; commit() renames it to `target`. If never committed, the file is removed.
class PendingFile {
 public:
  explicit PendingFile(std::filesystem::path target);
  ~PendingFile();
  PendingFile(const PendingFile&) = delete;
  PendingFile& operator=(const PendingFile&) = delete;

  const std::filesystem::path& path() const { return pending_; }
  /// Makes the file durable under its real name. Throws Error if that fails (full disk, ...).
  void commit();

 private:
  std::filesystem::path target_;
  std::filesystem::path pending_;
  bool committed_ = false;
};

/// Removes what every PendingFile of this process has written so far: for ending without destructors.
void remove_pending_files();

/// Removes from a folder, and all folders in it, what a PendingFile of a process of this machine left that was killed.
void remove_abandoned_files(const std::filesystem::path& folder);

/// Writes a whole file through PendingFile.
void write_file(const std::filesystem::path& target, const std::string& content);

/// Appends one line in a single write, so that lines of several processes do not mix; then flushes it to disk.
void append_line(const std::filesystem::path& target, const std::string& line);

/// Reads a whole file; Error with the system's reason if it cannot be read.
std::string read_file(const std::filesystem::path& path);

}  // namespace dualparal
