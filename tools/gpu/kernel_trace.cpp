// SPDX-License-Identifier: Apache-2.0
// Time by CUDA kernel of a whole process, without a profiler: CUDA loads this library at its start
// (CUDA_INJECTION64_PATH=libkernel_trace.so) and CUPTI hands it the kernels, copies and fills. When the process ends it
// writes DUALPARAL_KERNEL_TABLE, a CSV: name, calls, total_ns. Without that variable it does nothing.
#include <cupti.h>
#include <cxxabi.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace {

struct Sum {
  uint64_t calls = 0, ns = 0;
};

// Never destroyed: CUPTI's thread may still hand over buffers while the process ends.
std::mutex& lock = *new std::mutex;
std::map<std::string, Sum>& sums = *new std::map<std::string, Sum>;
uint64_t& dropped = *new uint64_t(0);

constexpr size_t kBufferBytes = 8 << 20;

bool good(CUptiResult result, const char* what) {
  if (result == CUPTI_SUCCESS) return true;
  const char* text = "unknown error";
  cuptiGetResultString(result, &text);
  std::fprintf(stderr, "kernel_trace: %s: %s\n", what, text);
  return false;
}

void add(const std::string& name, uint64_t begin, uint64_t end) {
  Sum& sum = sums[name];
  ++sum.calls;
  sum.ns += end - begin;
}

void add(const CUpti_Activity* record) {
  switch (record->kind) {
    case CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL:
    case CUPTI_ACTIVITY_KIND_KERNEL: {
      // Of the version in the headers: the wheel brings both them and the library.
      const auto* kernel = reinterpret_cast<const CUpti_ActivityKernel10*>(record);
      add(kernel->name ? kernel->name : "unnamed kernel", kernel->start, kernel->end);
      break;
    }
    case CUPTI_ACTIVITY_KIND_MEMCPY: {
      const auto* copy = reinterpret_cast<const CUpti_ActivityMemcpy6*>(record);
      add("memcpy kind " + std::to_string(copy->copyKind), copy->start, copy->end);
      break;
    }
    case CUPTI_ACTIVITY_KIND_MEMSET: {
      const auto* fill = reinterpret_cast<const CUpti_ActivityMemset4*>(record);
      add("memset", fill->start, fill->end);
      break;
    }
    default:
      break;
  }
}

void CUPTIAPI give_buffer(uint8_t** buffer, size_t* size, size_t* most_records) {
  *buffer = static_cast<uint8_t*>(std::aligned_alloc(8, kBufferBytes));
  *size = *buffer ? kBufferBytes : 0;
  *most_records = 0;  // as many as fit
}

void CUPTIAPI take_buffer(CUcontext context, uint32_t stream, uint8_t* buffer, size_t, size_t filled) {
  {
    const std::lock_guard guard(lock);
    CUpti_Activity* record = nullptr;
    while (cuptiActivityGetNextRecord(buffer, filled, &record) == CUPTI_SUCCESS) add(record);
    size_t lost = 0;
    if (cuptiActivityGetNumDroppedRecords(context, stream, &lost) == CUPTI_SUCCESS) dropped += lost;
  }
  std::free(buffer);
}

std::string readable(const std::string& name) {
  int status = 0;
  char* text = abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status);
  std::string result = status == 0 && text ? text : name;
  std::free(text);
  std::replace(result.begin(), result.end(), '"', '\'');
  return result;
}

void write_table() {
  const char* path = std::getenv("DUALPARAL_KERNEL_TABLE");
  good(cuptiActivityFlushAll(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED), "flush");
  const std::lock_guard guard(lock);
  if (sums.empty()) return;  // of the processes that CUDA was loaded into, those that computed nothing
  FILE* out = std::fopen(path, "w");
  if (!out) {
    std::perror("kernel_trace: DUALPARAL_KERNEL_TABLE");
    return;
  }
  std::vector<std::pair<std::string, Sum>> rows(sums.begin(), sums.end());
  std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.second.ns > b.second.ns; });
  std::fputs("name,calls,total_ns\n", out);
  for (const auto& [name, sum] : rows)
    std::fprintf(out, "\"%s\",%llu,%llu\n", readable(name).c_str(), static_cast<unsigned long long>(sum.calls),
                 static_cast<unsigned long long>(sum.ns));
  std::fclose(out);
  if (dropped) std::fprintf(stderr, "kernel_trace: %llu records were lost\n", static_cast<unsigned long long>(dropped));
}

}  // namespace

// CUDA calls it. What is returned is not looked at by all versions: errors are printed.
extern "C" int InitializeInjection() {
  if (!std::getenv("DUALPARAL_KERNEL_TABLE")) return 1;
  if (!good(cuptiActivityRegisterCallbacks(give_buffer, take_buffer), "callbacks")) return 1;
  for (const auto kind :
       {CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL, CUPTI_ACTIVITY_KIND_MEMCPY, CUPTI_ACTIVITY_KIND_MEMSET})
    good(cuptiActivityEnable(kind), "enable");
  std::atexit(write_table);
  return 1;
}
