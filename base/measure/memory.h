// SPDX-License-Identifier: Apache-2.0
// Peak memory of a rank, as the allocator counts it.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

namespace dualparal {

/// Bytes of tensors on `device`, all threads of this process together. On a CPU the count comes from an
/// allocator of ours around LibTorch's (its own reporting hook sees one thread only); on CUDA from the
/// caching allocator; for meta tensors see count_meta_memory(). Memory-mapped checkpoint files are not tensors of the
/// allocator and do not count.
struct MemoryUsage {
  int64_t allocated_bytes = 0;
  int64_t peak_allocated_bytes = 0;
  int64_t peak_reserved_bytes = 0;  ///< on a CPU the same as allocated
  /// How often the device itself was asked for memory since the process began, which on a GPU may wait for everything
  /// that runs there; -1 for one whose allocator does not say (a CPU, shapes alone).
  int64_t device_allocations = -1;
};

/// Puts the counting allocator in place. Call first thing in main(): tensors made before do not count.
void count_cpu_memory();

/// From now on, memory_usage() of the meta device is what its tensors would take if they had memory.
void count_meta_memory();

MemoryUsage memory_usage(const at::Device& device);

/// A tensor for what belongs on `device`, in the memory of its host: pinned for a GPU, plain for a CPU, a shape for
/// shapes alone. It does not count in memory_usage(), but in host_memory_usage().
at::Tensor empty_in_host_memory(at::IntArrayRef sizes, at::ScalarType dtype, const at::Device& device);

/// Bytes of the tensors that empty_in_host_memory() made, for all devices together.
struct HostMemoryUsage {
  int64_t allocated_bytes = 0;
  int64_t peak_allocated_bytes = 0;
};
HostMemoryUsage host_memory_usage();

/// Starts new peaks, of the device's memory and of the host's, at what is allocated now.
void reset_peak_memory(const at::Device& device);

/// Gives what the allocator keeps of freed tensors back to the device; on a CPU it stays with the process.
void release_cached_memory(const at::Device& device);

/// Bytes of the whole device that are not free, whoever took them; 0 for one that does not say (a CPU, shapes alone).
int64_t device_used_bytes(const at::Device& device);

/// Bytes that a device still has for this process, what its allocator keeps of freed tensors among them; -1 for one
/// that does not say (a CPU, shapes alone).
int64_t free_device_bytes(const at::Device& device);

/// Highest resident set size of this process since it started, in bytes (mapped files included).
int64_t peak_resident_bytes();

/// The same since restart_peak_resident(), which starts a new peak at what is resident now. Where the system cannot,
/// since the start.
void restart_peak_resident();
int64_t peak_resident_bytes_since_restart();

}  // namespace dualparal
