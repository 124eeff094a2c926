// SPDX-License-Identifier: Apache-2.0
// Traces of strategies on shapes alone.
#pragma once

#include <c10/core/InferenceMode.h>

#include "comm/emulated_communicator.h"
#include "harness/trace/rank_trace.h"
#include "model/checkpoint/weights.h"
#include "model/ops/meta_kernels.h"
#include "strategy/strategy.h"

namespace dualparal::testing {

/// What each of `world_size` ranks would do, counted, without times; for so many videos, one behind the other.
inline std::vector<RankTrace> trace_ranks(const StrategyEntry& entry, const OptionValues& given, Request request,
                                          int64_t world_size, const TransformerConfig& config,
                                          at::ScalarType dtype = at::kFloat, size_t videos = 1) {
  const c10::InferenceMode inference;
  register_meta_kernels();
  const auto meta = at::TensorOptions().device(at::kMeta);
  request.prompt_embeds = request.negative_prompt_embeds = at::empty({1, 512, config.text_dim}, meta);
  request.initial_noise =
      at::empty({1, request.channels, request.latent_frames, request.latent_height, request.latent_width}, meta);
  const std::vector<Request> following(videos - 1, request);
  const auto strategy = entry.make(resolve_options(entry.name, entry.options, given));
  NullSink nowhere;
  std::vector<RankTrace> traces;
  for (int64_t rank = 0; rank < world_size; ++rank) {
    const auto comm = emulated_communicator(rank, world_size);
    const auto weights = shapes_only(dtype);
    const Transformer transformer(config, *weights,
                                  strategy->plan(workload(request, config, 4, world_size)).parts.at(rank));
    Recorder recorder(at::kMeta);
    const WorkMeter meter;
    DenoiseContext context{request, transformer, *comm, recorder, nowhere};
    context.following = following;
    strategy->denoise(context);
    traces.push_back({.timed = false, .events = recorder.events(), .weights_bytes = transformer.weights_bytes()});
  }
  return traces;
}

inline double flops_of(const std::vector<RankTrace>& traces) {
  double flops = 0;
  for (const RankTrace& trace : traces) flops += trace.summed().work.flops();
  return flops;
}

}  // namespace dualparal::testing
