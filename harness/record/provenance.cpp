// SPDX-License-Identifier: Apache-2.0
#include "harness/record/provenance.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <fmt/chrono.h>
#include <torch/headeronly/version.h>
#include <unistd.h>

#include <ctime>
#include <fstream>

#include "base/device.h"
#include "base/files.h"
#include "base/hash.h"
#include "build_stamp.h"

namespace dualparal {
namespace {

nlohmann::ordered_json code_version() {
  if (!*kBuiltCommit) return {{"version", DUALPARAL_VERSION}, {"commit", nullptr}, {"dirty", nullptr}};
  return {{"version", DUALPARAL_VERSION}, {"commit", kBuiltCommit}, {"dirty", kBuiltDirty}};
}

std::string cuda_driver_version() {
  std::ifstream in("/proc/driver/nvidia/version");
  std::string line;
  std::getline(in, line);
  return line;
}

}  // namespace

std::string program_hash() {
  static const std::string hash = text_hash(read_file("/proc/self/exe"));
  return hash;
}

nlohmann::ordered_json provenance(const at::Device& device) {
  char host[256] = "";
  gethostname(host, sizeof host - 1);
  nlohmann::ordered_json environment = nlohmann::ordered_json::object();
  // Named variables only: an environment can hold secrets.
  for (const char* name : {"OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "NCCL_P2P_DISABLE",
                           "NCCL_SHM_DISABLE", "PYTORCH_CUDA_ALLOC_CONF"})
    if (const char* value = std::getenv(name)) environment[name] = value;
  return {{"code", code_version()},
          {"host", host},
          {"cpu", device_description(at::kCPU)},
          {"cpu_threads", at::get_num_threads()},
          {"gpu", device.is_cuda() ? nlohmann::ordered_json(device_description(device)) : nullptr},
          {"gpu_driver", device.is_cuda() ? nlohmann::ordered_json(cuda_driver_version()) : nullptr},
          {"libtorch", TORCH_VERSION},
          {"compiler", __VERSION__},
          {"environment", environment},
          {"date", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)))}};
}

}  // namespace dualparal
