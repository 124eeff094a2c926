// SPDX-License-Identifier: Apache-2.0
// Output files that are complete or absent, never half written; input files that are read whole or refused.
#pragma once

#include <filesystem>
#include <string>

namespace dualparal {

/// A path beside `target` to write to; commit() renames it to `target`. If never committed, the file is removed.
class PendingFile {
 public:
  /// A symbolic link is followed: what it names is replaced. Error if the target is a folder, a device, a pipe or a
  /// socket: a file would take its place.
  explicit PendingFile(std::filesystem::path target);
  ~PendingFile();
  PendingFile(const PendingFile&) = delete;
  PendingFile& operator=(const PendingFile&) = delete;

  const std::filesystem::path& path() const { return pending_; }
  /// Adds to the file; for those who do not write to path() themselves. Error with the system's reason.
  void write(const void* data, size_t bytes);
  /// Makes the file durable under its real name. Throws Error if that fails (full disk, ...).
  void commit();

 private:
  std::filesystem::path target_;
  std::filesystem::path pending_;
  int descriptor_ = -1;  // once write() was called
  bool committed_ = false;
};

/// Files, or folders if they are empty, to be removed by remove_pending_files() until they are forgotten.
void note_pending(const std::filesystem::path& path);
void forget_pending(const std::filesystem::path& path);
/// Removes what every PendingFile of this process has written so far: for ending without destructors.
void remove_pending_files();

/// Removes from a folder, and all folders in it, what a PendingFile of a process of this machine left that was killed.
void remove_abandoned_files(const std::filesystem::path& folder);
/// The same for those of one target, in its folder.
void remove_abandoned_beside(const std::filesystem::path& target);

/// Writes a whole file through PendingFile. A device, a pipe and /dev/stdout are written to as they are.
void write_file(const std::filesystem::path& target, const std::string& content);

/// Appends one line, so that lines of several processes do not mix, and flushes it to disk. A line that cannot be
/// written whole is taken back, and one that was cut off before gets its end first: no line joins another.
void append_line(const std::filesystem::path& target, const std::string& line);

/// Reads a whole file; Error with the system's reason if it, or the rest of it, cannot be read. Only files: a pipe
/// could keep a program waiting for ever.
std::string read_file(const std::filesystem::path& path);

/// What a path names if it is neither a file nor absent: "a folder", "a pipe", "a device", "a socket"; else empty.
/// Links are followed.
std::string no_file(const std::filesystem::path& path);

}  // namespace dualparal
