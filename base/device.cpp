// SPDX-License-Identifier: Apache-2.0
#include "base/device.h"

#include <ATen/Context.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>

#include <cstdlib>
#include <fstream>
#include <mutex>

#include "base/cuda.h"
#include "base/errors.h"

namespace dualparal {
namespace {

// What the CUDA driver itself says of a device by one of its functions (text, size, device); empty where it says
// nothing. Its library is there wherever the backend works.
std::string ask_driver(int index, const char* function) {
  void* driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
  if (!driver) return "";
  using GetDevice = int (*)(int*, int);
  const auto get_device = reinterpret_cast<GetDevice>(dlsym(driver, "cuDeviceGet"));
  const auto get_text = reinterpret_cast<int (*)(char*, int, int)>(dlsym(driver, function));
  int device = 0;
  char text[256] = "";
  if (!get_device || !get_text || get_device(&device, index) != 0 || get_text(text, sizeof text, device) != 0)
    return "";
  return text;
}

std::string cuda_device_name(int index) {
  const std::string name = ask_driver(index, "cuDeviceGetName");
  return name.empty() ? "unknown CUDA device" : name;
}

at::DeviceType traced_device = at::kCPU;

}  // namespace

void load_cuda_backend() {
  static std::once_flag once;
  std::call_once(once, [] {
    if (!dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL))
      fail(
          "--device cuda: LibTorch's CUDA backend could not be loaded ({}); install the CUDA build of torch "
          "or use --device cpu",
          dlerror());
  });
}

at::Device named_device(const std::string& name) {
  const bool is_cuda = name == "cuda" || name.starts_with("cuda:");
  check_usage(name == "cpu" || is_cuda, "--device: expected cpu, cuda or cuda:K, got '{}'", name);
  if (!is_cuda) return at::kCPU;
  int index = 0;
  if (name != "cuda") {
    const std::string digits = name.substr(5);
    check_usage(!digits.empty() && digits.find_first_not_of("0123456789") == std::string::npos && digits.size() < 4,
                "--device: expected cuda:K with a device number K, got '{}'", name);
    index = std::stoi(digits);
  }
  return at::Device(at::kCUDA, static_cast<at::DeviceIndex>(index));
}

at::Device parse_device(const std::string& name) {
  const at::Device device = named_device(name);
  if (!device.is_cuda()) return device;
  load_cuda_backend();
  set_arithmetic();
  const auto count = at::detail::getCUDAHooks().deviceCount();
  check(device.index() < count,
        "--device {}: this machine has {} CUDA device(s); `dualparal doctor` says what it can do", name, count);
  at::globalContext().lazyInitDevice(at::kCUDA);  // the allocator's statistics exist from here on
  return device;
}

// LibTorch's defaults differ: convolutions in TF32. The environment can change them, too (TORCH_ALLOW_TF32_...).
void set_arithmetic() {
  auto& context = at::globalContext();
  context.setAllowTF32CuBLAS(false);
  context.setAllowTF32CuDNN(false);
  context.setBenchmarkCuDNN(false);
}

at::ScalarType parse_dtype(const std::string& name) {
  if (name == "fp32") return at::kFloat;
  if (name == "bf16") return at::kBFloat16;
  if (name == "fp16") return at::kHalf;
  throw UsageError(fmt::format("--dtype: expected fp32, bf16 or fp16, got '{}'", name));
}

std::string dtype_name(at::ScalarType dtype) {
  switch (dtype) {
    case at::kFloat:
      return "fp32";
    case at::kBFloat16:
      return "bf16";
    case at::kHalf:
      return "fp16";
    default:
      return c10::toString(dtype);
  }
}

void set_traced_device(at::DeviceType type) { traced_device = type; }

at::DeviceType runs_on(const at::Tensor& tensor) { return tensor.is_meta() ? traced_device : tensor.device().type(); }

void synchronize(const at::Device& device) {
  if (device.is_cpu() || device.is_meta()) return;
  // Not the whole device: messages that were posted ahead run on streams of their own until their peer sends.
  const c10::impl::VirtualGuardImpl guard(device.type());
  guard.synchronizeStream(guard.getStream(device));
}

std::string pci_address(const at::Device& device) {
  return device.is_cuda() ? ask_driver(device.index(), "cuDeviceGetPCIBusId") : "";
}

std::string device_description(const at::Device& device) {
  if (device.is_cuda()) return cuda_device_name(device.index());
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);)
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  return "unknown processor";
}

}  // namespace dualparal
