// SPDX-License-Identifier: Apache-2.0
// The configurations of a model's parts, as tests change them.
#pragma once

#include "base/files.h"
#include "base/json.h"
#include "model/sampling/scheduler_config.h"
#include "model/wan/config.h"
#include "tests/testing.h"

namespace dualparal::testing {

using nlohmann::json;

inline const fs::path kModels = "configs/models";  // from the repository's root, where the tests run

// The configuration of one part, where it lies in a model's folder, and the function that reads it.
struct Part {
  const char* file;
  void (*read)(const fs::path&);
};
inline std::ostream& operator<<(std::ostream& out, const Part& part) { return out << part.file; }

inline const Part kTransformer = {"transformer/config.json",
                                  [](const fs::path& file) { read_transformer_config(file); }};
inline const Part kVae = {"vae/config.json", [](const fs::path& file) { read_vae_config(file); }};
inline const Part kTextEncoder = {"text_encoder/config.json",
                                  [](const fs::path& file) { read_text_encoder_config(file); }};
inline const Part kScheduler = {"scheduler/scheduler_config.json",
                                [](const fs::path& file) { read_scheduler_config(file); }};
inline const Part kIndex = {"model_index.json", [](const fs::path& file) { check_model_index(file.parent_path()); }};
inline const std::vector<Part> kParts = {kTransformer, kVae, kTextEncoder, kScheduler, kIndex};

inline json published(const Part& part) { return json::parse(read_file(kModels / "wan2.1-t2v-1.3b" / part.file)); }

}  // namespace dualparal::testing
