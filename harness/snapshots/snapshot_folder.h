// SPDX-License-Identifier: Apache-2.0
// The folder of a run's snapshots:
//   snapshot-00000012/rank-0.safetensors, ...   state after 12 iterations, of the ranks that keep some
//   finished/00000.safetensors, ...             finished latents, piece by piece; the newest snapshot needs the first
//   ones
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <vector>

#include "harness/snapshots/snapshot_file.h"

namespace dualparal {

/// A snapshot, read.
struct ReadSnapshot {
  SavedRun run;
  nlohmann::ordered_json about;                 ///< of rank 0's file
  std::vector<std::filesystem::path> finished;  ///< files of the latents that were finished before it
};

class SnapshotFolder {
 public:
  static constexpr size_t kKept = 2;  ///< snapshots

  explicit SnapshotFolder(std::filesystem::path folder) : folder_(std::move(folder)) {}
  ~SnapshotFolder();
  SnapshotFolder(const SnapshotFolder&) = delete;
  SnapshotFolder& operator=(const SnapshotFolder&) = delete;

  const std::filesystem::path& path() const { return folder_; }
  /// Makes it, and holds it until the end of the scope. Error if another run holds it.
  void hold();
  std::filesystem::path rank_file(int64_t done, int64_t rank) const;
  std::filesystem::path finished_file(size_t number) const;

  /// Iterations after which there is a snapshot, of which some files may be missing or damaged; the newest first.
  std::vector<int64_t> begun() const;
  /// Whether all files of a snapshot are there.
  bool complete(int64_t done) const;
  bool holds_snapshots() const;
  /// One snapshot. verify: Error that names the file that is damaged, of all that it needs.
  ReadSnapshot read(int64_t done, bool verify) const;
  /// The newest one that is whole; none: there is none at all. tell: called with a line for each that is damaged, and
  /// passed over. Error if all are damaged.
  std::optional<ReadSnapshot> newest(const std::function<void(const std::string&)>& tell) const;

  /// Removes all complete snapshots but the newest ones, and what was begun before those.
  void keep_newest() const;
  /// Removes everything that came after a snapshot, which a run goes on from; none: everything that is a snapshot's.
  void forget_after(const std::optional<ReadSnapshot>& from) const;

 private:
  std::filesystem::path snapshot(int64_t done) const;

  std::filesystem::path folder_;
  int lock_ = -1;
};

}  // namespace dualparal
