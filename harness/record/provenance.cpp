// SPDX-License-Identifier: Apache-2.0
#include "harness/record/provenance.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <fmt/chrono.h>
#include <torch/headeronly/version.h>
#include <unistd.h>

#include <cstdio>
#include <ctime>
#include <fstream>

#include "base/device.h"

namespace dualparal {
namespace {

// First line of what a command prints; empty if it fails.
std::string command_output(const std::string& command) {
  FILE* pipe = popen((command + " 2>/dev/null").c_str(), "r");
  if (!pipe) return "";
  char line[512] = "";
  const bool got = std::fgets(line, sizeof line, pipe) != nullptr;
  const int status = pclose(pipe);
  std::string text = got && status == 0 ? line : "";
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

nlohmann::ordered_json code_version() {
  const std::string git = fmt::format("git -C '{}' ", DUALPARAL_SOURCE_DIR);
  const std::string commit = command_output(git + "rev-parse HEAD");
  if (commit.empty()) return {{"version", DUALPARAL_VERSION}, {"commit", nullptr}, {"dirty", nullptr}};
  // Results are made by the code: writing them anew does not change it.
  const std::string changed =
      command_output(git + "status --porcelain --untracked-files=no -- ':(top)' ':(top,exclude)results' | head -n 1");
  return {{"version", DUALPARAL_VERSION}, {"commit", commit}, {"dirty", !changed.empty()}};
}

std::string cuda_driver_version() {
  std::ifstream in("/proc/driver/nvidia/version");
  std::string line;
  std::getline(in, line);
  return line;
}

}  // namespace

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
