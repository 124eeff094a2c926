// SPDX-License-Identifier: Apache-2.0
#include "harness/snapshots/snapshot_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/errors.h"
#include "base/files.h"

namespace dualparal {
namespace fs = std::filesystem;

SnapshotFolder::~SnapshotFolder() {
  if (lock_ >= 0) ::close(lock_);
}

void SnapshotFolder::hold() {
  std::error_code error;
  fs::create_directories(folder_, error);
  check(fs::is_directory(folder_), "--snapshot {}: cannot make the folder: {}", folder_.string(),
        error ? error.message() : "a file of that name is in the way");
  lock_ = ::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const int reason = errno;
  check(lock_ >= 0, "--snapshot {}: cannot open the folder: {}", folder_.string(), std::strerror(reason));
  // A file system without locks is no error: then it is the user who must give each run a folder of its own.
  check(::flock(lock_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK,
        "--snapshot {}: another run keeps its snapshots there", folder_.string());
  remove_abandoned_files(folder_);
}

fs::path SnapshotFolder::snapshot(int64_t done) const { return folder_ / fmt::format("snapshot-{:08}", done); }

fs::path SnapshotFolder::rank_file(int64_t done, int64_t rank) const {
  return snapshot(done) / fmt::format("rank-{}.safetensors", rank);
}

fs::path SnapshotFolder::finished_file(size_t number) const {
  return folder_ / "finished" / fmt::format("{:05}.safetensors", number);
}

std::vector<int64_t> SnapshotFolder::begun() const {
  std::vector<int64_t> found;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder_, ignored)) {
    long long done = 0;
    int end = 0;
    const std::string name = entry.path().filename();
    if (std::sscanf(name.c_str(), "snapshot-%lld%n", &done, &end) == 1 && name.size() == static_cast<size_t>(end))
      found.push_back(done);
  }
  std::ranges::sort(found, std::greater());
  return found;
}

bool SnapshotFolder::complete(int64_t done) const {
  if (!fs::exists(rank_file(done, 0))) return false;
  int64_t keepers = 1;
  try {
    keepers = read_snapshot_file(rank_file(done, 0), /*verify=*/false).about.at("keepers");
  } catch (const std::exception&) {
    return true;  // damaged: who reads it says so
  }
  for (int64_t rank = 1; rank < keepers; ++rank)
    if (!fs::exists(rank_file(done, rank))) return false;
  return true;
}

bool SnapshotFolder::holds_snapshots() const {
  return std::ranges::any_of(begun(), [&](int64_t done) { return complete(done); });
}

ReadSnapshot SnapshotFolder::read(int64_t done, bool verify) const {
  ReadSnapshot out;
  out.run.done = done;
  SnapshotFile first = read_snapshot_file(rank_file(done, 0), verify);
  out.about = std::move(first.about);
  out.run.world_size = out.about.at("world_size");
  out.run.finished = out.about.at("finished");
  out.run.ranks.push_back(std::move(first.state));
  for (int64_t rank = 1; rank < out.about.at("keepers").get<int64_t>(); ++rank)
    out.run.ranks.push_back(read_snapshot_file(rank_file(done, rank), verify).state);
  for (size_t number = 0; number < out.about.at("finished").get<size_t>(); ++number) {
    out.finished.push_back(finished_file(number));
    if (verify) read_snapshot_file(out.finished.back(), verify);
  }
  return out;
}

std::optional<ReadSnapshot> SnapshotFolder::newest(const std::function<void(const std::string&)>& tell) const {
  std::string damage;
  for (const int64_t done : begun()) {
    if (!complete(done)) continue;  // its run ended before it was whole
    try {
      ReadSnapshot whole = read(done, /*verify=*/true);
      if (!damage.empty()) tell(fmt::format("{}; {} is taken instead", damage, snapshot(done).string()));
      return whole;
    } catch (const std::exception& error) {
      damage = fmt::format("{}{}", damage.empty() ? "" : damage + "; ", first_line(error.what()));
    }
  }
  check(damage.empty(), "no snapshot in {} is whole: {}", folder_.string(), damage);
  return std::nullopt;
}

void SnapshotFolder::keep_newest() const {
  size_t kept = 0;
  std::error_code ignored;
  for (const int64_t done : begun())
    if (kept >= kKept)
      fs::remove_all(snapshot(done), ignored);
    else
      kept += complete(done) ? 1 : 0;
}

void SnapshotFolder::forget_after(const std::optional<ReadSnapshot>& from) const {
  for (const int64_t done : begun())
    if (!from || done > from->run.done || !complete(done)) fs::remove_all(snapshot(done));
  const fs::path finished = folder_ / "finished";
  if (!from) {
    fs::remove_all(finished);
    return;
  }
  for (size_t number = from->finished.size(); fs::remove(finished_file(number)); ++number) {
  }
}

}  // namespace dualparal
