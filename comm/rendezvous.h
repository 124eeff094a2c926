// SPDX-License-Identifier: Apache-2.0
// How ranks learn who they are, and where they meet.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <torch/csrc/distributed/c10d/Store.hpp>

namespace dualparal {

/// What the launcher told this process through its environment.
struct RankEnvironment {
  int64_t rank = 0;
  int64_t world_size = 1;
  int64_t local_rank = 0;        ///< among the ranks on this machine
  int64_t local_world_size = 1;  ///< ranks on this machine
  std::string master_addr;
  uint16_t master_port = 0;
  bool hosted = false;  ///< the launcher holds the store; else rank 0 does
  /// Connections to the store of our own launcher (local_store()): of the rank, and of its monitor. -1: another
  /// launcher.
  int store_descriptor = -1, monitor_descriptor = -1;

  bool one_machine() const { return local_world_size == world_size; }
};

/// From RANK, WORLD_SIZE, ... (--nproc, torchrun), Open MPI's, PMI's or Slurm's variables; nothing if this process was
/// not launched as a rank. Error if what is set does not make sense.
std::optional<RankEnvironment> rank_environment();

/// The variable in which our launcher tells a rank its two descriptors: "RANK'S,MONITOR'S".
constexpr const char* kStoreVariable = "DUALPARAL_STORE_DESCRIPTORS";

/// c10d's TCPStore, for ranks of another launcher. With all ranks on this machine it is reachable from this machine
/// only. Error that names address and port if the port is in use, if the store cannot be reached within the time-out,
/// or if what answers there is something else.
c10::intrusive_ptr<c10d::Store> connect_store(const RankEnvironment& environment, bool host,
                                              std::chrono::milliseconds timeout);

}  // namespace dualparal
