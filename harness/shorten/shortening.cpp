// SPDX-License-Identifier: Apache-2.0
#include "harness/shorten/shortening.h"

#include <algorithm>
#include <optional>

#include "dualparal/block_plan.h"
#include "harness/shorten/queue_expansion.h"
#include "harness/trace/repeated_section.h"

namespace dualparal {
namespace {

// Steps at the beginning and the end that are not as the others: a sampler of several steps' memory has less of it at
// first and uses less of it at last; what is kept from step to step is not there yet.
constexpr int64_t kFirstSteps = 3, kLastSteps = 3;
constexpr int64_t kFifoFrames = 8;  // latent frames that leave the queue of one frame a level
// Blocks more than steps, or steps more than blocks: enough for three alike iterations, and what comes before and
// behind.
constexpr int64_t kMoreBlocks = 8, kMoreSteps = 12;

int64_t number_of(const OptionValues& options, const std::string& name) {
  const auto found = options.find(name);
  return found == options.end() ? 0 : std::stol(found->second);
}

bool repeat_all(std::vector<RankTrace>& traces, SectionMark mark, int64_t first, int64_t length, int64_t more) {
  return std::ranges::all_of(traces,
                             [&](RankTrace& trace) { return repeat_section(trace, mark, first, length, more); });
}

// Where what is allocated grows from section to section: peaks, of which a run with one section more says by how much
// they do. A peak before the sections stays what it is.
void extend_peaks(std::vector<RankTrace>& traces, int64_t more, const std::function<std::vector<RankTrace>()>& longer) {
  if (std::ranges::none_of(traces, [](const RankTrace& one) { return one.repeat && one.repeat->live_bytes != 0; }))
    return;
  const std::vector<RankTrace> larger = longer();
  for (size_t rank = 0; rank < traces.size(); ++rank)
    for (const auto peak : {&RankTrace::peak_memory_bytes, &RankTrace::peak_reserved_bytes})
      traces[rank].*peak += more * (larger[rank].*peak - traces[rank].*peak);
}

using Traces = std::optional<std::vector<RankTrace>>;

// Every step as the one before.
Traces of_steps(const WholeRun& run, const TraceRanks& trace) {
  const int64_t first = kFirstSteps + number_of(run.options, "synchronous-steps"), period = run.step_period;
  const int64_t kept = first + 2 * period + kLastSteps;
  if (run.experts > 1 || run.size.steps <= kept) return std::nullopt;
  const int64_t more = (run.size.steps - kept) / period;
  if (more == 0) return std::nullopt;
  const RunSize shorter{run.size.steps - more * period, run.size.latent_frames};
  auto traces = trace(shorter);
  if (!repeat_all(traces, SectionMark::kStep, first, period, more)) return std::nullopt;
  extend_peaks(traces, more, [&] { return trace({shorter.steps + period, shorter.latent_frames}); });
  return traces;
}

// A queue of frames, of which one leaves in every iteration; full from the beginning.
Traces of_iterations(const WholeRun& run, const TraceRanks& trace) {
  const int64_t more = run.size.latent_frames - kFifoFrames;
  if (more <= 0) return std::nullopt;
  auto traces = trace({run.size.steps, kFifoFrames});
  // Iterations are as many as frames, and before them those in which the first copies leave.
  int64_t iterations = 0;
  for (const RankTrace& one : traces)
    for (const Event& event : one.events)
      if (event.label.block >= 0) iterations = std::max(iterations, event.label.step + 1);
  const int64_t first = iterations - kFifoFrames + 2;
  if (!repeat_all(traces, SectionMark::kStep, first, 1, more)) return std::nullopt;
  extend_peaks(traces, more, [&] { return trace({run.size.steps, kFifoFrames + 1}); });
  return traces;
}

// A queue of blocks: entries that are alike are traced once, and iterations that are alike written once: those in which
// the queue is full, or, of fewer blocks than steps, those in which all of the video is in it.
Traces of_queue(const WholeRun& run, const TraceRanks& trace) {
  const int64_t block = number_of(run.options, "block-frames"), context = number_of(run.options, "context-frames");
  const int64_t halves = run.guided && run.options.at("guidance-parallel") == "on" ? 2 : 1;
  const int64_t ranks_of_stage = halves * number_of(run.options, "sequence-degree");
  const int64_t messages = 2 * ranks_of_stage;  // PipelineStage::kDouble
  const int64_t stages = run.ranks / ranks_of_stage;
  const auto blocks = static_cast<int64_t>(make_blocks(run.size.latent_frames, block, context).size());
  const int64_t more_blocks = std::max<int64_t>(0, blocks - run.size.steps - kMoreBlocks);
  // The first iterations' messages are waited for later than others': ends_of() of queue_expansion.cpp.
  const int64_t least_steps = blocks + messages + kMoreSteps;
  const int64_t more_steps = run.experts > 1 ? 0 : std::max<int64_t>(0, run.size.steps - least_steps);
  const int64_t more = more_blocks + more_steps;  // one of them is none
  const RunSize written{run.size.steps - more_steps, run.size.latent_frames - more_blocks * block};
  auto traces = run.experts > 1 ? std::nullopt : expand_queue(written, {block, context, messages, stages}, trace);
  if (!traces) {
    if (more == 0) return std::nullopt;
    traces = trace(written);
  }
  if (more_steps > 0) {
    if (!repeat_all(*traces, SectionMark::kStep, blocks + messages + 4, 1, more)) return std::nullopt;
    extend_peaks(*traces, more, [&] { return trace({written.steps + 1, written.latent_frames}); });
    return traces;
  }
  // The first block, which is longer, leaves the queue when it is full, and is handed out two iterations later at most.
  if (!repeat_all(*traces, SectionMark::kBlock, run.size.steps + 2, 1, more)) return std::nullopt;
  extend_peaks(*traces, more, [&] { return trace({written.steps, written.latent_frames + block}); });
  return traces;
}

}  // namespace

std::vector<RankTrace> short_traces(const WholeRun& run, const TraceRanks& trace) {
  Traces traces;
  if (run.repeats == Repeats::kSteps) traces = of_steps(run, trace);
  if (run.repeats == Repeats::kIterations) traces = of_iterations(run, trace);
  if (run.repeats == Repeats::kQueue) traces = of_queue(run, trace);
  return traces ? std::move(*traces) : trace(run.size);
}

}  // namespace dualparal
