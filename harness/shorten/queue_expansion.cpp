// SPDX-License-Identifier: Apache-2.0
#include "harness/shorten/queue_expansion.h"

#include <algorithm>
#include <deque>
#include <map>

#include "dualparal/block_plan.h"
#include "harness/trace/repeated_section.h"

namespace dualparal {
namespace {

using Kind = Event::Kind;

struct QueueSize {
  int64_t steps = 0, blocks = 0, stages = 1;
};

// Blocks, and steps of a block, that are told apart at the beginning and at the end; those between are alike.
struct Ends {
  int64_t first = 3, last = 3;
  int64_t size() const { return first + last + 1; }
};

// The first iterations hold the entries that wait for no message.
Ends ends_of(const QueueOptions& options) {
  Ends ends;
  while (ends.first * (ends.first + 1) / 2 <= options.messages_ahead) ++ends.first;
  return ends;
}

// As small as can be, its steps more or less than its blocks as they are of the whole.
QueueSize small_queue(const QueueSize& whole, const Ends& ends) {
  const int64_t least = std::min({whole.steps, whole.blocks, ends.size()});
  const int64_t longer = std::max(ends.last, ends.size() - least);
  QueueSize small{least, least, whole.stages};
  (whole.steps > whole.blocks ? small.steps : small.blocks) += std::min(longer, std::abs(whole.steps - whole.blocks));
  return small;
}

// Where it stands in a queue of `to` what stands at `place` in one of `from`.
int64_t place_in(int64_t place, int64_t from, int64_t to, const Ends& ends) {
  if (place < ends.first || from == to) return place;
  return std::max(to - (from - place), to - ends.last - 1);
}

// What a rank does with an entry: it runs its layers, or, where the latents are, applies the prediction.
struct Piece {
  int64_t block = 0, age = 0;
  bool applies = false;
  auto operator<=>(const Piece&) const = default;
};

using Pieces = std::map<Piece, std::vector<Event>>;

// Of a message or a computation; a piece's other events stand between these.
Piece piece_of(const Event& event) {
  return {event.label.block, event.label.step, event.label.last_layer < event.label.first_layer};
}

// A trace as pieces in their order. Waits belong to the piece in which they are waited, what is handed out to the one
// that is being applied.
struct Cut {
  Pieces pieces;
  std::vector<Piece> order;
};

Cut cut(const std::vector<Event>& events) {
  Cut out;
  std::vector<Event> ahead;  // handed out: noted before the computation that does it
  for (const Event& event : events) {
    if (event.kind == Kind::kOutput) {
      ahead.push_back(event);
      continue;
    }
    if (event.kind != Kind::kWait || out.order.empty()) {
      const Piece piece = piece_of(event);
      if (out.order.empty() || out.order.back() != piece) out.order.push_back(piece);
    }
    auto& piece = out.pieces[out.order.back()];
    piece.insert(piece.end(), ahead.begin(), ahead.end());
    ahead.clear();
    piece.push_back(event);
  }
  return out;
}

// The order of a rank's pieces. applies: it has the latents. updated: a window waits for the last update of the block
// before it.
std::vector<Piece> order_of(const QueueSize& size, bool applies, bool updated) {
  const auto queue = make_queue(size.blocks, size.steps);
  std::vector<Piece> order;
  int64_t applied = 0;
  const auto apply_until = [&](int64_t position) {
    for (; applies && applied <= position; ++applied) order.push_back({queue[applied].block, queue[applied].age, true});
  };
  for (int64_t position = 0; position < static_cast<int64_t>(queue.size()); ++position) {
    const QueueEntry& entry = queue[position];
    apply_until(needed_position(size.blocks, size.steps, entry, updated));
    order.push_back({entry.block, entry.age, false});
    apply_until(final_position(queue, position, size.steps, size.stages));
  }
  apply_until(static_cast<int64_t>(queue.size()) - 1);
  return order;
}

// A wait is for the oldest message to that rank which was not yet waited for: it has its label.
void label_waits(std::vector<Event>& events) {
  std::map<std::pair<int64_t, Channel>, std::deque<WorkLabel>> sent;
  for (Event& event : events) {
    auto& labels = sent[{event.peer, event.channel}];
    if (event.kind == Kind::kSend) labels.push_back(event.label);
    if (event.kind != Kind::kWait || labels.empty()) continue;
    event.label = labels.front();
    labels.pop_front();
  }
}

// The rank's trace in a queue of `whole`, from that in `small`; nothing if it is not made of pieces in a known order.
std::optional<RankTrace> expand(const RankTrace& trace, const QueueSize& small, const QueueSize& whole,
                                const Ends& ends) {
  const Cut known = cut(trace.events);
  const bool applies = std::ranges::any_of(known.order, &Piece::applies);
  for (const bool updated : {false, true}) {
    if (known.order != order_of(small, applies, updated)) continue;
    RankTrace out = trace;
    out.events.clear();
    for (const Piece& piece : order_of(whole, applies, updated)) {
      const Piece like{place_in(piece.block, whole.blocks, small.blocks, ends),
                       place_in(piece.age, whole.steps, small.steps, ends), piece.applies};
      for (Event event : known.pieces.at(like)) {
        if (event.kind != Kind::kOutput) {
          event.label.block = piece.block;
          event.label.step = piece.age;
        }
        event.live_bytes = 0;
        out.events.push_back(event);
      }
    }
    label_waits(out.events);
    return out;
  }
  return std::nullopt;
}

using Traces = std::vector<RankTrace>;

std::optional<Traces> expand(const Traces& traces, const QueueSize& small, const QueueSize& whole, const Ends& ends) {
  Traces out;
  for (const RankTrace& one : traces) {
    auto expanded = expand(one, small, whole, ends);
    if (!expanded) return std::nullopt;
    out.push_back(std::move(*expanded));
  }
  return out;
}

// Whether a trace that was put together is that which was made.
bool same(const Traces& expanded, const Traces& traced) {
  for (size_t rank = 0; rank < traced.size(); ++rank) {
    std::vector<Event> events = traced[rank].events;
    for (Event& event : events) event.live_bytes = 0;
    if (!std::ranges::equal(events, expanded[rank].events, alike)) return false;
  }
  return true;
}

}  // namespace

std::optional<Traces> expand_queue(const RunSize& size, const QueueOptions& options, const TraceRanks& trace) {
  const auto blocks_in = make_blocks(size.latent_frames, options.block_frames, options.context_frames);
  const QueueSize whole{size.steps, static_cast<int64_t>(blocks_in.size()), options.stages};
  const Ends ends = ends_of(options);
  const QueueSize small = small_queue(whole, ends);
  if (4 * small.steps * small.blocks > whole.steps * whole.blocks) return std::nullopt;  // four runs as small
  const auto run = [&](const QueueSize& queue) {
    return trace({queue.steps, size.latent_frames - (whole.blocks - queue.blocks) * options.block_frames});
  };
  const Traces traces = run(small);
  auto out = expand(traces, small, whole, ends);
  if (!out) return std::nullopt;
  // Memory grows with the blocks under way, which are as many as the fewer of blocks and steps, and with what is kept
  // for each step: evenly, so one more of each tells by how much.
  const bool more_blocks = whole.blocks > small.blocks, more_steps = whole.steps > small.steps;
  const QueueSize wider{small.steps, small.blocks + (more_blocks ? 1 : 0), whole.stages};
  const QueueSize longer{small.steps + (more_steps ? 1 : 0), whole.steps > whole.blocks ? small.blocks : wider.blocks,
                         whole.stages};
  const Traces with_block = run(wider), with_step = run(longer);
  for (const auto& [queue, traced] : {std::pair(wider, &with_block), std::pair(longer, &with_step)}) {
    const auto checked = expand(traces, small, queue, ends);
    if (!checked || !same(*checked, *traced)) return std::nullopt;
  }
  const Traces& without_step = whole.steps > whole.blocks ? traces : with_block;
  for (size_t rank = 0; rank < out->size(); ++rank)
    for (const auto peak :
         {&RankTrace::peak_memory_bytes, &RankTrace::peak_reserved_bytes, &RankTrace::host_cache_bytes})
      (*out)[rank].*peak += (whole.blocks - small.blocks) * (with_block[rank].*peak - traces[rank].*peak) +
                            (whole.steps - small.steps) * (with_step[rank].*peak - without_step[rank].*peak);
  return out;
}

}  // namespace dualparal
