// SPDX-License-Identifier: Apache-2.0
// One rank's denoising, the same in every mode: load, warm up, denoise, and say what was done.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "harness/options/generate_options.h"
#include "harness/trace/rank_trace.h"
#include "model/wan/wan_model.h"
#include "strategy/strategy.h"

namespace dualparal {

/// What is to be generated, but for the prompt.
Request make_request(const GenerateOptions& options, const WanModel& model);

/// Those of --prompt-embeds, each [1, tokens, text_dim]; the negative ones only with guidance. Error for another shape.
PromptEmbeds read_prompt_embeds(const GenerateOptions& options, int64_t text_dim);

/// What --image-embeds says of the image. Error for other shapes than the model's, or numbers that are none.
ImageCondition read_image_embeds(const GenerateOptions& options, const WanModel& model, const Request& request);

/// Tells the request of the image.
void set_image(Request& request, const ImageCondition& image, const WanModel& model);

struct RankRun {
  const GenerateOptions& options;
  const WanModel& model;
  Strategy& strategy;
  const StrategyPlan& plan;
  Placement placement;
  bool count_work = false;  ///< events carry what was computed, and the memory allocated
  bool shows_progress = false;
  std::string title;  ///< of the progress line
  /// Where the transformers stay from one prompt to the next; null: they are freed when all is denoised. Those that are
  /// there are used, warm.
  std::vector<std::unique_ptr<Transformer>>* kept = nullptr;
  Snapshots& snapshots = no_snapshots();
  std::span<const Request> following = {};  ///< of a list in a scenario: the videos behind the first
  /// The trace has all events; else their sums, whose memory hardly grows, and of an endless run nothing.
  bool keeps_events = true;
  /// All ranks of the run, that begin together, where the strategy's are a replica of several; null: they are all.
  Communicator* all_ranks = nullptr;
};

struct RankResult {
  RankTrace trace;              ///< of the repeat whose latency is the median (of an even number, the lower one)
  std::vector<double> samples;  ///< latency of every repeat, that of the slowest rank, seconds
  double load_s = 0;            ///< reading its transformer weights
  std::optional<int64_t> stopped_after;  ///< of an endless run: iterations after which it was told to stop
};

/// Denoises this rank's part of `request`, and of those that follow it. comm: of the ranks that do it together.
RankResult run_rank(const RankRun& run, const Request& request, Communicator& comm, Recorder& recorder,
                    LatentsSink& sink);

}  // namespace dualparal
