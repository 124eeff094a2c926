// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <unistd.h>

#include <cerrno>
#include <cstddef>

namespace dualparal {

/// Writes all bytes to a descriptor. 0, or the system's error number: a full disk often takes some bytes first.
inline int write_all(int descriptor, const void* data, size_t bytes) {
  for (size_t done = 0; done < bytes;) {
    const ssize_t count = ::write(descriptor, static_cast<const char*>(data) + done, bytes - done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return count == 0 ? EIO : errno;
    done += static_cast<size_t>(count);
  }
  return 0;
}

}  // namespace dualparal
