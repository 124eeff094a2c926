// SPDX-License-Identifier: Apache-2.0
#include "base/files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/errors.h"
#include "base/write_all.h"

namespace dualparal {

namespace fs = std::filesystem;

namespace {

class Descriptor {
 public:
  Descriptor(const fs::path& path, int flags) : number_(::open(path.c_str(), flags | O_CLOEXEC, 0666)) {}
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  operator int() const { return number_; }

 private:
  int number_;
};

// 0 or an error number. A file that cannot be synchronised, a pipe or a terminal, says EINVAL: it was written all the
// same.
int flush(int descriptor) { return ::fsync(descriptor) == 0 || errno == EINVAL ? 0 : errno; }

// Whether the last line of a file has no end.
bool ends_torn(const fs::path& file, off_t size) {
  char last = '\n';
  const Descriptor in(file, O_RDONLY);
  return size > 0 && in >= 0 && ::pread(in, &last, 1, size - 1) == 1 && last != '\n';
}

}  // namespace

std::string no_file(const fs::path& path) {
  std::error_code ignored;
  switch (fs::status(path, ignored).type()) {
    case fs::file_type::directory:
      return "a folder";
    case fs::file_type::fifo:
      return "a pipe";
    case fs::file_type::block:
    case fs::file_type::character:
      return "a device";
    case fs::file_type::socket:
      return "a socket";
    default:
      return "";
  }
}

void write_file(const fs::path& target, const std::string& content) {
  const std::string other = no_file(target), folder = target.parent_path().string();
  // /dev/stdout may stand for a file, which its owner has open: another one in its place would not be seen.
  const bool stands_for_another = folder == "/dev" || folder == "/dev/fd" || folder.starts_with("/proc/");
  if (other == "a device" || other == "a pipe" || stands_for_another) {
    const Descriptor out(target, O_WRONLY);
    const int reason = out < 0 ? errno : write_all(out, content.data(), content.size());
    check(reason == 0, "{}: cannot write: {}", target.string(), std::strerror(reason));
    return;
  }
  PendingFile file(target);
  file.write(content.data(), content.size());
  file.commit();
}

void append_line(const fs::path& target, const std::string& line) {
  std::error_code ignored;
  if (target.has_parent_path()) fs::create_directories(target.parent_path(), ignored);
  const Descriptor out(target, O_WRONLY | O_APPEND | O_CREAT);
  const int not_opened = errno;
  check(out >= 0, "{}: cannot append: {}", target.string(), std::strerror(not_opened));
  struct stat status {};
  const bool regular = ::fstat(out, &status) == 0 && S_ISREG(status.st_mode);
  if (regular) {
    // One process at a time, where the file system has locks: what another has added must not be taken back.
    while (::flock(out, LOCK_EX) != 0 && errno == EINTR) {
    }
    ::fstat(out, &status);
  }
  const std::string whole = (regular && ends_torn(target, status.st_size) ? "\n" : "") + line + "\n";
  int reason = write_all(out, whole.data(), whole.size());
  if (reason == 0) reason = flush(out);
  if (reason == 0) return;
  const bool taken_back = !regular || ::ftruncate(out, status.st_size) == 0;
  fail("{}: cannot append: {}{}", target.string(), std::strerror(reason),
       taken_back ? "" : "; a piece of the line stays in it");
}

std::string read_file(const fs::path& path) {
  const std::string other = no_file(path);
  check(other.empty(), "{}: cannot read: it is {}, expected a file", path.string(), other);
  const Descriptor in(path, O_RDONLY);
  const int not_opened = errno;
  check(in >= 0, "{}: cannot read: {}", path.string(), std::strerror(not_opened));
  std::string content;
  struct stat status {};
  if (::fstat(in, &status) == 0 && status.st_size > 0) content.reserve(static_cast<size_t>(status.st_size));
  char buffer[1 << 16];
  for (;;) {
    const ssize_t count = ::read(in, buffer, sizeof buffer);
    if (count == 0) return content;
    const int reason = errno;
    if (count < 0 && reason == EINTR) continue;
    check(count > 0, "{}: cannot read on after {} bytes: {}", path.string(), content.size(), std::strerror(reason));
    content.append(buffer, static_cast<size_t>(count));
  }
}

}  // namespace dualparal
