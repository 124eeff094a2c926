// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "harness/options/generate_options.h"
#include "harness/record/result_line.h"
#include "harness/trace/rank_trace.h"
#include "model/wan/wan_model.h"

namespace dualparal {

/// `--mode emulate` and `--mode trace`: all ranks of a run of `--world-size`, one after the other in this process.
/// Emulated ranks compute and hold what a real rank would, on one device; traced ones do it with shapes alone, without
/// weights or arithmetic. Messages go nowhere, so the latents have no meaning and are thrown away. Returns the result
/// line.
ResultLine emulate(const GenerateOptions& options, const WanModel& model);

/// The same for `--mode trace`, with the ranks' traces and without files.
TraceSet trace_run(const GenerateOptions& options, const WanModel& model);

/// Of one rank alone.
RankTrace trace_rank(const GenerateOptions& options, const WanModel& model, int64_t rank);

}  // namespace dualparal
