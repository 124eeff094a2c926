// SPDX-License-Identifier: Apache-2.0
// What a rank keeps of a run, in a file: safetensors, with numbers, a description and a checksum in its metadata.
#pragma once

#include <filesystem>

#include "base/json.h"
#include "strategy/snapshot/run_state.h"

namespace dualparal {

/// Complete or absent. Tensors come from any device. Error if it cannot be written.
void write_snapshot_file(const std::filesystem::path& path, const RunState& state, const nlohmann::ordered_json& about);

struct SnapshotFile {
  RunState state;  ///< on the CPU, on the file's mapped pages
  nlohmann::ordered_json about;
};

/// Error that names the file if it is not whole. verify: all of it is read, and held against its checksum.
SnapshotFile read_snapshot_file(const std::filesystem::path& path, bool verify);

}  // namespace dualparal
