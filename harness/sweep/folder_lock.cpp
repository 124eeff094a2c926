// SPDX-License-Identifier: Apache-2.0
#include "harness/sweep/folder_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <thread>

#include "base/errors.h"

namespace dualparal {

FolderLock::FolderLock(const std::filesystem::path& folder, std::chrono::seconds patience)
    : descriptor_(open(folder.c_str(), O_RDONLY | O_DIRECTORY)) {  // not O_CLOEXEC: child processes keep it
  const int reason = errno;
  check(descriptor_ >= 0, "{}: cannot open the folder: {}", folder.string(), std::strerror(reason));
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (flock(descriptor_, LOCK_EX | LOCK_NB) != 0 && (errno == EWOULDBLOCK || errno == EINTR)) {
    if (std::chrono::steady_clock::now() > deadline) {
      close(descriptor_);
      throw UsageError(fmt::format("{}: another bench is at work in this folder", folder.string()));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

FolderLock::~FolderLock() { close(descriptor_); }

}  // namespace dualparal
