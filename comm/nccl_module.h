// SPDX-License-Identifier: Apache-2.0
// What the NCCL module gives to the program.
#pragma once

#include "comm/nccl_communicator.h"

namespace dualparal {

constexpr const char* kNcclModuleFile = "libdualparal_nccl.so";
constexpr const char* kNcclModuleSymbol = "dualparal_nccl_module";

struct NcclModule {
  const char* program_version;  ///< that it was built with
  /// PCI address of a GPU.
  std::string (*gpu)(const at::Device& device);
  std::unique_ptr<Communicator> (*make)(c10::intrusive_ptr<c10d::Store> store, const NcclOptions& options,
                                        std::unique_ptr<Communicator> control, const at::Device& device);
};

}  // namespace dualparal
