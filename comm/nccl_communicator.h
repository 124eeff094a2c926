// SPDX-License-Identifier: Apache-2.0
// Ranks over NCCL, one GPU each. NCCL needs LibTorch's CUDA backend and is built as a module of its own
// (nccl_module.cpp), loaded only when it is asked for: the program runs on machines without CUDA.
#pragma once

#include <chrono>
#include <filesystem>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include "comm/communicator.h"

namespace dualparal {

/// UsageError unless `backend` is one that exists and works on `device` (a --device value).
void check_backend(const std::string& backend, const std::string& device);

/// Sets what c10d and CUDA read from the environment for NCCL. Call it before any thread is started: setting a variable
/// while another thread reads one is undefined. Those of CUDA keep the values that a user has given them.
void set_nccl_environment();

/// The module beside this program. Error that says how to build it if it is not there.
std::filesystem::path find_nccl_module();
/// Loads the module and LibTorch's CUDA backend, once per process, before anything else uses CUDA and after
/// set_nccl_environment(). Error that says what could not be loaded.
void load_nccl_module();

struct NcclOptions {
  int64_t rank = 0;
  int64_t world_size = 1;
  std::chrono::milliseconds timeout{60'000};  ///< the longest a rank waits for another
};

/// control: carries all that is not sent or received (agreements, prompts), and outlives nothing.
/// Error if two ranks share a GPU, which NCCL refuses.
std::unique_ptr<Communicator> nccl_communicator(c10::intrusive_ptr<c10d::Store> store, const NcclOptions& options,
                                                std::unique_ptr<Communicator> control, const at::Device& device);

/// Error that names two ranks with the same GPU. by_rank: machine and GPU of each.
void check_own_gpus(const std::vector<std::string>& by_rank);

}  // namespace dualparal
