// SPDX-License-Identifier: Apache-2.0
#include "model/ops/kernels.h"

#include <filesystem>

#include "base/device.h"
#include "base/errors.h"
#include "base/program_module.h"

namespace dualparal {
namespace {

bool own_on_cuda = true;  // for shapes alone; a real device asks for them first

// Registers the module's kernels with LibTorch's dispatcher, and says why they cannot be used; empty if they can.
std::string load_kernels(const at::Device& device) {
  const auto file = beside_program(kKernelModuleFile);
  if (!std::filesystem::exists(file))
    return fmt::format("{} is not there: it is built where nvcc is (cmake says \"CUDA kernels: on\")", file.string());
  try {
    const auto& module = program_module<KernelModule>(file, kKernelModuleSymbol);
    const char* const refusal = module.refusal(device.has_index() ? device.index() : 0);
    return refusal ? fmt::format("{}: {}", file.string(), refusal) : "";
  } catch (const Error& error) {
    return error.what();
  }
}

}  // namespace

void check_kernels(const std::string& choice) {
  check_usage(choice == "auto" || choice == "own" || choice == "aten",
              "--kernels: expected auto, own or aten, got '{}'", choice);
}

void choose_kernels(const std::string& choice, const at::Device& device) {
  check_kernels(choice);
  own_on_cuda = choice != "aten";
  if (!own_on_cuda || !device.is_cuda()) return;
  static const std::string why_not = load_kernels(device);  // every rank has one device
  own_on_cuda = why_not.empty();
  check(own_on_cuda || choice == "auto", "--kernels own: {}; use --kernels auto or aten", why_not);
}

bool own_kernels(at::DeviceType type) { return type == at::kCPU || (type == at::kCUDA && own_on_cuda); }

std::string kernels_on(at::DeviceType type) { return own_kernels(type) ? "own" : "aten"; }

}  // namespace dualparal
