// SPDX-License-Identifier: Apache-2.0
#include "harness/run/latents_spool.h"

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

// All of it, at its place; Error with the system's reason.
template <class Call, class Byte>
void transfer(const char* what, Call call, int file, Byte* data, int64_t bytes, int64_t place) {
  while (bytes > 0) {
    const ssize_t count = call(file, data, static_cast<size_t>(bytes), place);
    const int why = errno;
    if (count < 0 && why == EINTR) continue;
    check(count > 0, "cannot {} latents in {}: {}", what, folder(), count < 0 ? std::strerror(why) : "the file ended");
    data += count, bytes -= count, place += count;
  }
}

}  // namespace

LatentsSpool::LatentsSpool() {
  std::string name = folder() + "/dualparal-latents-XXXXXX";
  file_ = mkstemp(name.data());
  const int why = errno;
  check(file_ >= 0, "{}: cannot make the file: {}", name, std::strerror(why));
  unlink(name.c_str());
}

LatentsSpool::~LatentsSpool() { close(file_); }

void LatentsSpool::push(const at::Tensor& latents) {
  const at::Tensor whole = latents.contiguous();
  std::vector<int64_t> shape = whole.sizes().vec();
  const int64_t frames = std::exchange(shape.at(2), 0);
  check(shape_.empty() || shape == shape_, "latents in {}: [{}], the ones before were [{}], where 0 is any number",
        folder(), fmt::join(shape, ", "), fmt::join(shape_, ", "));
  shape_ = std::move(shape);
  const auto bytes = static_cast<int64_t>(whole.nbytes());
  transfer("write", pwrite, file_, static_cast<const char*>(whole.const_data_ptr()), bytes, written_);
  written_ += bytes;
  frames_.push_back(frames);
}

at::Tensor LatentsSpool::pop() {
  std::vector<int64_t> shape = shape_;
  shape.at(2) = frames_.front();
  frames_.pop_front();
  const at::Tensor latents = at::empty(shape, at::kFloat);
  const auto bytes = static_cast<int64_t>(latents.nbytes());
  transfer("read", pread, file_, static_cast<char*>(latents.mutable_data_ptr()), bytes, read_);
  read_ += bytes;
  return latents;
}

}  // namespace dualparal
