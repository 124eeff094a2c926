// SPDX-License-Identifier: Apache-2.0
#include "model/ops/kernels.h"

#include <dlfcn.h>

#include <filesystem>
#include <string_view>

#include "base/device.h"
#include "base/errors.h"

namespace dualparal {
namespace {

bool own_on_cuda = true;  // for shapes alone; a real device asks for them first

// Registers the module's kernels with LibTorch's dispatcher, and says why they cannot be used; empty if they can.
std::string load_module(const at::Device& device) {
  const auto file = std::filesystem::read_symlink("/proc/self/exe").parent_path() / kKernelModuleFile;
  if (!std::filesystem::exists(file))
    return fmt::format("{} is not there: it is built where nvcc is (cmake says \"CUDA kernels: on\")", file.string());
  void* const library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) return fmt::format("{} could not be loaded ({})", file.string(), dlerror());
  const auto get = reinterpret_cast<GetKernelModule>(dlsym(library, kKernelModuleSymbol));
  if (!get) return fmt::format("{} is not this program's module: it has no {}", file.string(), kKernelModuleSymbol);
  if (std::string_view(get()->program_version) != DUALPARAL_VERSION)
    return fmt::format("{} belongs to version {} of this program, which is {}; build both again", file.string(),
                       get()->program_version, DUALPARAL_VERSION);
  const char* const refusal = get()->refusal(device.has_index() ? device.index() : 0);
  return refusal ? fmt::format("{}: {}", file.string(), refusal) : "";
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
  static const std::string why_not = load_module(device);  // every rank has one device
  own_on_cuda = why_not.empty();
  check(own_on_cuda || choice == "auto", "--kernels own: {}; use --kernels auto or aten", why_not);
}

bool own_kernels(at::DeviceType type) { return type == at::kCPU || (type == at::kCUDA && own_on_cuda); }

std::string kernels_on(at::DeviceType type) { return own_kernels(type) ? "own" : "aten"; }

}  // namespace dualparal
