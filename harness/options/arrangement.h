// SPDX-License-Identifier: Apache-2.0
// How the ranks of a run are arranged, N = stages x sequence x guidance x replicas, where flags say it by its factors.
#pragma once

#include <string>

#include "harness/options/generate_options.h"

namespace dualparal {

/// --stages and --guidance-degree.
void add_arrangement_flags(CLI::App& app, const std::string& group, RunOptions& options);

/// Puts --guidance-degree and --partition, which may be given in other words, into the strategy's options. Before those
/// are resolved. UsageError if the strategy has no such groups.
void resolve_arrangement(RunOptions& options);

/// How many ranks there are, if --stages is given and nobody said it otherwise: the product. Once the strategy's
/// options are resolved. UsageError if the ranks that were given are not the product, or the strategy has no stages.
void resolve_ranks(RunOptions& options, bool guided);

/// --sequence-degree, once the strategy's options are resolved; 1 of strategies without it.
int64_t ranks_of_stage(const RunOptions& options);

/// The value of --partition: "auto" is "balanced"; of a file, what it holds: where the stages behind the first begin,
/// separated by commas or white space, from # to the end of a line a comment. All else as it is.
std::string partition_of(const std::string& given);

}  // namespace dualparal
