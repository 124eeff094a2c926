// SPDX-License-Identifier: Apache-2.0
#include "base/measure/memory.h"

#include <c10/core/CPUAllocator.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/alloc_cpu.h>
#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <string>

namespace dualparal {
namespace {

struct Count {
  std::atomic<int64_t> allocated{0};
  std::atomic<int64_t> peak{0};

  void add(int64_t bytes) {
    const int64_t now = allocated.fetch_add(bytes, std::memory_order_relaxed) + bytes;
    int64_t seen = peak.load(std::memory_order_relaxed);
    while (now > seen && !peak.compare_exchange_weak(seen, now, std::memory_order_relaxed)) {
    }
  }
};

Count cpu, meta, host;

// What this thread allocates is memory of the host beside a device, though the device is a CPU or shapes alone.
thread_local bool beside_device = false;

struct BesideDevice {
  BesideDevice() { beside_device = true; }
  ~BesideDevice() { beside_device = false; }
};

void release(void* data) {
  if (!data) return;
  cpu.add(-static_cast<int64_t>(malloc_usable_size(data)));
  c10::free_cpu(data);
}

struct CountingAllocator final : at::Allocator {
  at::DataPtr allocate(size_t bytes) override {
    void* data = c10::alloc_cpu(bytes);
    if (beside_device) return {data, data, &c10::free_cpu, at::Device(at::kCPU)};
    if (data) cpu.add(static_cast<int64_t>(malloc_usable_size(data)));
    return {data, data, &release, at::Device(at::kCPU)};
  }
  at::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override { default_copy_data(to, from, bytes); }
};

// Meta tensors have no memory: what they would take is kept where others have their data.
void release_meta(void* size) {
  meta.add(-*static_cast<int64_t*>(size));
  delete static_cast<int64_t*>(size);
}

struct CountingMetaAllocator final : public at::Allocator {
  at::DataPtr allocate(size_t bytes) override {
    if (bytes == 0 || beside_device) return {nullptr, at::Device(at::kMeta)};
    meta.add(static_cast<int64_t>(bytes));
    return {nullptr, new int64_t(static_cast<int64_t>(bytes)), &release_meta, at::Device(at::kMeta)};
  }
  at::DeleterFnPtr raw_deleter() const override { return nullptr; }
  void copy_data(void*, const void*, std::size_t) const override {}
};

Count* host_count(const at::Device& device) { return device.is_cpu() ? &cpu : device.is_meta() ? &meta : nullptr; }

}  // namespace

void count_cpu_memory() {
  // Freed blocks stay with the process, as the CUDA caching allocator keeps them: giving every large tensor back to
  // the system and faulting it in again costs more than much of the arithmetic.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  static CountingAllocator allocator;
  c10::SetCPUAllocator(&allocator, /*priority=*/1);
}

void count_meta_memory() {
  static CountingMetaAllocator allocator;
  c10::SetAllocator(at::kMeta, &allocator, /*priority=*/1);
}

// A tensor over the memory of another, whose deleter counts: allocators of pinned memory have none of ours.
at::Tensor empty_in_host_memory(at::IntArrayRef sizes, at::ScalarType dtype, const at::Device& device) {
  const bool pinned = host_count(device) == nullptr;
  const auto options = at::TensorOptions().dtype(dtype).device(pinned ? at::Device(at::kCPU) : device);
  const at::Tensor memory = [&] {
    const BesideDevice beside;
    return at::empty(sizes, pinned ? options.pinned_memory(true) : options);
  }();
  const auto bytes = static_cast<int64_t>(memory.nbytes());
  host.add(bytes);
  const auto free = [memory, bytes](void*) { host.add(-bytes); };
  return at::for_blob(memory.mutable_data_ptr(), sizes)
      .deleter(free)
      .options(options)
      .target_device(options.device())
      .make_tensor();
}

HostMemoryUsage host_memory_usage() { return {host.allocated.load(), host.peak.load()}; }

MemoryUsage memory_usage(const at::Device& device) {
  if (const Count* count = host_count(device))
    return {count->allocated.load(), count->peak.load(), count->peak.load(), -1};
  using c10::CachingAllocator::StatType;
  const auto stats = c10::getDeviceAllocator(device.type())->getDeviceStats(device.index());
  const auto all = static_cast<size_t>(StatType::AGGREGATE);
  return {stats.allocated_bytes[all].current, stats.allocated_bytes[all].peak, stats.reserved_bytes[all].peak,
          stats.num_device_alloc};
}

void reset_peak_memory(const at::Device& device) {
  host.peak = host.allocated.load();
  if (Count* count = host_count(device))
    count->peak = count->allocated.load();
  else
    c10::getDeviceAllocator(device.type())->resetPeakStats(device.index());
}

void release_cached_memory(const at::Device& device) {
  if (device.is_cuda()) c10::getDeviceAllocator(device.type())->emptyCache();
}

int64_t device_used_bytes(const at::Device& device) {
  if (host_count(device)) return 0;
  const auto [free, total] = c10::getDeviceAllocator(device.type())->getMemoryInfo(device.index());
  return static_cast<int64_t>(total - free);
}

int64_t free_device_bytes(const at::Device& device) {
  if (host_count(device)) return -1;
  using c10::CachingAllocator::StatType;
  auto* const allocator = c10::getDeviceAllocator(device.type());
  const auto stats = allocator->getDeviceStats(device.index());
  const auto all = static_cast<size_t>(StatType::AGGREGATE);
  const auto kept = stats.reserved_bytes[all].current - stats.allocated_bytes[all].current;
  return static_cast<int64_t>(allocator->getMemoryInfo(device.index()).first) + kept;
}

namespace {

int64_t peak_before_restart = 0;

}  // namespace

int64_t peak_resident_bytes() { return std::max(peak_before_restart, peak_resident_bytes_since_restart()); }

void restart_peak_resident() {
  peak_before_restart = peak_resident_bytes();
  std::ofstream("/proc/self/clear_refs") << 5;
}

int64_t peak_resident_bytes_since_restart() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;)
    if (int64_t kib = 0; word == "VmHWM:" && status >> kib) return kib * 1024;
  return 0;
}

}  // namespace dualparal
