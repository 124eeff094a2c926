// SPDX-License-Identifier: Apache-2.0
// Result lines (JSON): their common fields, and reading them back.
#pragma once

#include <filesystem>
#include <vector>

#include "base/json.h"
#include "harness/options/generate_options.h"

namespace dualparal {

constexpr int kResultSchema = 1;

/// The fields that every result line begins with, from what was asked for.
nlohmann::ordered_json result_header(const GenerateOptions& options, const std::string& model_name,
                                     int64_t latent_frames, int64_t world_size);

/// All lines of a results file. A last line that was cut off by a kill is left out; any other broken line, or one of
/// another schema, is an Error that names it.
std::vector<nlohmann::ordered_json> read_results(const std::filesystem::path& file);

/// Makes the file end after its last whole line, so that lines can be appended again after a kill.
void drop_unfinished_line(const std::filesystem::path& file);

}  // namespace dualparal
