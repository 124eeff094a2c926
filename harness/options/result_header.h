// SPDX-License-Identifier: Apache-2.0
// What a result line says before anything has run: what was asked for, and what formulas expect.
#pragma once

#include "harness/options/generate_options.h"
#include "harness/options/replicas.h"
#include "harness/record/result_line.h"

namespace dualparal {

/// What the mode measures.
ResultKind kind_of(Mode mode);

/// A line with the fields of `options`, resolved or not: what is still open stays empty.
ResultLine result_header(const GenerateOptions& options, const std::string& model_name,
                         std::optional<int64_t> latent_frames, int64_t world_size);

/// analytic_cost, bubble_ratio_slots: of all replicas together.
void set_formula_fields(ResultLine& line, const std::vector<ReplicaPlan>& plans);

/// config and config_hash, of resolved options.
void set_config(ResultLine& line, const GenerateOptions& options);

}  // namespace dualparal
