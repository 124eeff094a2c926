// SPDX-License-Identifier: Apache-2.0
// Thread blocks that do nothing but occupy multiprocessors, as a kernel of NCCL's does that waits for a message: 640
// threads each, on a stream of the highest priority. spin_test.py loads this library and times a stage beside them.
//
// They end when the host says so, and after `most_s` seconds in any case: what waits for them must not wait for ever.
#include <cuda_runtime.h>

namespace {

// One block waits as one of NCCL's does: a thread polls memory of the host, the others wait for it. `started` tells the
// host that the blocks are on the device: what it times from then on is beside them.
__global__ void spin(volatile int* stop, int* started, long long most_ns) {
  if (threadIdx.x == 0) {
    long long begin, now;
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(begin));
    atomicAdd_system(started, 1);
    do {
      asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
    } while (*stop == 0 && now - begin < most_ns);
  }
  __syncthreads();
}

struct Spinner {
  cudaStream_t stream = nullptr;
  int *host = nullptr, *device = nullptr;  // stop, started
} spinner;

// The first error, kept over the calls of one function.
int code(cudaError_t error) { return static_cast<int>(error); }

}  // namespace

extern "C" {

const char* spin_error(int error) { return cudaGetErrorString(static_cast<cudaError_t>(error)); }

// All memory that spinning needs: to be called before anything is timed. 0, or an error for spin_error().
int spin_prepare(int device) {
  int least = 0, highest = 0;
  if (const auto error = cudaSetDevice(device)) return code(error);
  if (const auto error = cudaDeviceGetStreamPriorityRange(&least, &highest)) return code(error);
  if (const auto error = cudaStreamCreateWithPriority(&spinner.stream, cudaStreamNonBlocking, highest))
    return code(error);
  if (const auto error = cudaHostAlloc(&spinner.host, 2 * sizeof(int), cudaHostAllocMapped)) return code(error);
  return code(cudaHostGetDevicePointer(&spinner.device, spinner.host, 0));
}

// Starts `blocks` blocks of `threads` threads and waits until all of them are on the device, a second at most (then
// cudaErrorTimeout: the device was full). 0, or an error.
int spin_start(int blocks, int threads, double most_s) {
  volatile int* host = spinner.host;
  host[0] = host[1] = 0;
  if (blocks == 0) return 0;
  spin<<<blocks, threads, 0, spinner.stream>>>(spinner.device, spinner.device + 1,
                                               static_cast<long long>(most_s * 1e9));
  if (const auto error = cudaGetLastError()) return code(error);
  timespec begin, now;
  clock_gettime(CLOCK_MONOTONIC, &begin);
  do {
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec - begin.tv_sec > 1) return code(cudaErrorTimeout);
  } while (host[1] < blocks);
  return 0;
}

// 1 while the blocks are there, 0 once they have ended.
int spin_is_running() { return cudaStreamQuery(spinner.stream) == cudaErrorNotReady; }

// Without waiting: may be called from a thread while another one is stuck behind the blocks.
void spin_tell_to_stop() {
  if (spinner.host) *static_cast<volatile int*>(spinner.host) = 1;
}

int spin_stop() {
  spin_tell_to_stop();
  return code(cudaStreamSynchronize(spinner.stream));
}
}
