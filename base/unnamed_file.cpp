// SPDX-License-Identifier: Apache-2.0
#include "base/unnamed_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/errors.h"

namespace dualparal {
namespace {

std::string folder() { return std::filesystem::temp_directory_path().string(); }

template <class Call, class Byte>
void transfer(const std::string& what, Call call, int file, Byte* data, int64_t bytes, int64_t place) {
  while (bytes > 0) {
    const ssize_t count = call(file, data, static_cast<size_t>(bytes), place);
    const int why = errno;
    if (count < 0 && why == EINTR) continue;
    check(count > 0, "cannot {} in {}: {}", what, folder(), count < 0 ? std::strerror(why) : "the file ended");
    data += count, bytes -= count, place += count;
  }
}

}  // namespace

UnnamedFile::UnnamedFile(std::string holds) : holds_(std::move(holds)) {
  std::string name = folder() + "/dualparal-" + holds_ + "-XXXXXX";
  file_ = mkostemp(name.data(), O_CLOEXEC);
  const int why = errno;
  check(file_ >= 0, "{}: cannot make the file: {}", name, std::strerror(why));
  unlink(name.c_str());
}

UnnamedFile::~UnnamedFile() { close(file_); }

void UnnamedFile::write(const void* data, int64_t bytes, int64_t place) {
  transfer("write " + holds_, pwrite, file_, static_cast<const char*>(data), bytes, place);
}

void UnnamedFile::read(void* data, int64_t bytes, int64_t place) const {
  transfer("read " + holds_, pread, file_, static_cast<char*>(data), bytes, place);
}

}  // namespace dualparal
