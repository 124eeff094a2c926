// SPDX-License-Identifier: Apache-2.0
#include "harness/run/rank_device.h"

#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include "base/device.h"

namespace dualparal {

at::Device rank_device(const std::string& name, const std::optional<RankEnvironment>& environment) {
  at::Device device = parse_device(name);
  if (!device.is_cuda()) return device;
  if (environment && name == "cuda") {
    const auto index = environment->local_rank % at::detail::getCUDAHooks().deviceCount();
    device = at::Device(at::kCUDA, static_cast<at::DeviceIndex>(index));
  }
  c10::impl::VirtualGuardImpl(device.type()).setDevice(device);  // none makes a context on another
  return device;
}

}  // namespace dualparal
