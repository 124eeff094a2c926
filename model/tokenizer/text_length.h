// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>

namespace dualparal {

/// Tokens that prompts are padded to, by the folder's tokenizer_config.json (`model_max_length`): at most Wan's 512,
/// which it is without that file. Error that names it if it is no such thing.
int64_t text_length(const std::filesystem::path& tokenizer_dir);

}  // namespace dualparal
