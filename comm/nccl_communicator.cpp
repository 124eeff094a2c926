// SPDX-License-Identifier: Apache-2.0
#include "comm/nccl_communicator.h"

#include <unistd.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <map>
#include <string_view>
#include <utility>

#include "base/device.h"
#include "base/errors.h"
#include "base/program_module.h"
#include "comm/nccl_module.h"

namespace dualparal {
namespace {

// Faults are found and told by our own monitor: c10d's watchdog would end the process first, without a reason.
constexpr std::array<std::pair<const char*, const char*>, 5> kOwnFaults = {{{"TORCH_NCCL_ASYNC_ERROR_HANDLING", "0"},
                                                                            {"TORCH_NCCL_ENABLE_MONITORING", "0"},
                                                                            {"TORCH_NCCL_DUMP_ON_TIMEOUT", "0"},
                                                                            {"TORCH_NCCL_PROPAGATE_ERROR", "0"},
                                                                            {"TORCH_NCCL_RETHROW_CUDA_ERRORS", "0"}}};

const NcclModule& nccl_module() {
  static const NcclModule* const module = [] {
    const auto file = find_nccl_module();
    for (const auto& [name, value] : kOwnFaults)
      check(std::getenv(name) && std::string_view(std::getenv(name)) == value,
            "--backend nccl: {} is not {}: the environment was not set before CUDA", name, value);
    load_cuda_backend();
    return &program_module<NcclModule>(file, kNcclModuleSymbol, "--backend nccl: ", "; use --backend gloo");
  }();
  return *module;
}

// Differs between machines, also where containers have the same name.
std::string machine() {
  char name[256] = "";
  gethostname(name, sizeof name - 1);
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  return fmt::format("{} ({})", name, boot.substr(0, 8));
}

}  // namespace

void check_backend(const std::string& backend, const std::string& device) {
  check_usage(backend == "gloo" || backend == "nccl", "--backend: expected gloo or nccl, got '{}'", backend);
  check_usage(backend == "gloo" || device.starts_with("cuda"),
              "--backend nccl: needs --device cuda, got --device {}; use --backend gloo", device);
}

void set_nccl_environment() {
  for (const auto& [name, value] : kOwnFaults) setenv(name, value, 1);
  // Read when CUDA starts. A receive that was posted ahead runs on the GPU until its peer sends: kernels must neither
  // queue up behind it (by default, streams share eight queues), nor be loaded while it runs (which waits for it).
  setenv("CUDA_DEVICE_MAX_CONNECTIONS", "32", 0);
  setenv("CUDA_MODULE_LOADING", "EAGER", 0);
}

std::filesystem::path find_nccl_module() {
  const auto file = beside_program(kNcclModuleFile);
  check(std::filesystem::exists(file),
        "--backend nccl: {} is not there. It is built where CUDA's headers are (cmake says \"NCCL: on\"), and must lie "
        "beside the program; use --backend gloo",
        file.string());
  return file;
}

void load_nccl_module() { nccl_module(); }

std::unique_ptr<Communicator> nccl_communicator(c10::intrusive_ptr<c10d::Store> store, const NcclOptions& options,
                                                std::unique_ptr<Communicator> control, const at::Device& device) {
  check(device.is_cuda(), "--backend nccl: needs a CUDA device, got {}", device.str());
  const NcclModule& module = nccl_module();
  check_own_gpus(control->gather(fmt::format("GPU {} of {}", module.gpu(device), machine())));
  return module.make(std::move(store), options, std::move(control), device);
}

void check_own_gpus(const std::vector<std::string>& by_rank) {
  std::map<std::string, size_t> owner;
  for (size_t rank = 0; rank < by_rank.size(); ++rank) {
    const auto [first, alone] = owner.emplace(by_rank[rank], rank);
    check(alone, "ranks {} and {} share {}, which NCCL refuses: one rank per GPU, or --backend gloo", first->second,
          rank, by_rank[rank]);
  }
}

}  // namespace dualparal
