// SPDX-License-Identifier: Apache-2.0
// Whether a run is the one whose snapshots it would go on from.
#pragma once

#include <filesystem>

#include "harness/options/generate_options.h"

namespace dualparal {

/// Everything that decides which latents a run with these resolved options gives; not how many ranks make them, and
/// how. Files and the model's folder count by what is in them, wherever they lie.
nlohmann::ordered_json run_identity(const GenerateOptions& options);

/// UsageError that names every option that differs, with the kept and the given value.
void check_same_run(const std::filesystem::path& folder, const nlohmann::ordered_json& kept,
                    const nlohmann::ordered_json& given);

/// Before any rank is started: what can be said of --snapshot and --resume without reading all of a snapshot.
/// UsageError if the folder holds snapshots of another run, or of any run that is not to be resumed. kept_ranks: of the
/// run that is resumed.
std::optional<int64_t> check_snapshot_folder(const GenerateOptions& options);

}  // namespace dualparal
