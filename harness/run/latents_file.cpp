// SPDX-License-Identifier: Apache-2.0
#include "harness/run/latents_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/errors.h"
#include "base/files.h"
#include "model/checkpoint/safetensors.h"

namespace dualparal {
namespace fs = std::filesystem;

LatentsFile::LatentsFile(fs::path path) : path_(std::move(path)), folder_(path_.string() + ".partial") {
  while (!take_folder()) {
  }
  note_pending(folder_);
}

LatentsFile::~LatentsFile() {
  std::error_code not_empty;
  fs::remove(folder_, not_empty);
  forget_pending(folder_);
  if (lock_ >= 0) ::close(lock_);
}

// False if the folder was removed in between by the run that had it.
bool LatentsFile::take_folder() {
  std::error_code error;
  fs::create_directories(folder_, error);
  check(!error, "{}: cannot make the folder: {}", folder_.string(), error.message());
  lock_ = ::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (lock_ < 0 && errno == ENOENT) return false;
  const int not_opened = errno;
  check(lock_ >= 0, "{}: cannot open the folder: {}", folder_.string(), std::strerror(not_opened));
  // A file system without locks is no error: then it is the user who must give each run a path of its own.
  const bool taken = ::flock(lock_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  const bool same = holds_folder();
  if (same && !taken) return true;
  ::close(std::exchange(lock_, -1));
  check(!(same && taken), "{}: another run is writing its latents there; give each run a --save-latents of its own",
        folder_.string());
  return false;
}

bool LatentsFile::holds_folder() const {
  struct stat ours {
  }, there{};
  return ::fstat(lock_, &ours) == 0 && ::stat(folder_.c_str(), &there) == 0 && ours.st_ino == there.st_ino &&
         ours.st_dev == there.st_dev;
}

void LatentsFile::check_folder() const {
  check(holds_folder(),
        "{}: this folder was removed or replaced while the run kept its finished latents in it; run it again",
        folder_.string());
}

void LatentsFile::remove_earlier_pieces() const {
  std::error_code error;
  fs::directory_iterator old(folder_, error);
  for (; !error && old != fs::directory_iterator(); old.increment(error)) {
    fs::remove_all(old->path(), error);
    if (error) break;
  }
  check(!error, "{}: cannot remove the latents of an earlier run: {}", folder_.string(), error.message());
}

void LatentsFile::push(const at::Tensor& latents) {
  check_folder();
  if (pieces_.empty()) remove_earlier_pieces();
  pieces_.push_back(folder_ / fmt::format("{:05}.safetensors", pieces_.size()));
  write_safetensors(pieces_.back(), {{"latents", latents}});
  frames_ += latents.size(2);
}

void LatentsFile::finish() {
  check_folder();
  check(!pieces_.empty(), "{}: no latents were finished", path_.string());
  at::Tensor latents;  // once in memory, with one piece at a time beside it
  int64_t done = 0;
  for (const auto& file : pieces_) {
    const at::Tensor piece = read_tensor(file, "latents", {1, -1, -1, -1, -1});
    if (!latents.defined()) latents = at::empty({1, piece.size(1), frames_, piece.size(3), piece.size(4)}, at::kFloat);
    done += piece.size(2);
    check(done <= frames_, "{}: the pieces hold more than the {} latent frames that were written", folder_.string(),
          frames_);
    latents.narrow(2, done - piece.size(2), piece.size(2)).copy_(piece);
  }
  write_safetensors(path_, {{"latents", latents}});
  fs::remove_all(folder_);
}

}  // namespace dualparal
