// SPDX-License-Identifier: Apache-2.0
#include "dualparal/queue_snapshots.h"

#include "dualparal/cache_memory.h"

namespace dualparal {
namespace {

std::string cache_name(size_t micro_batch) { return fmt::format("cache {}", micro_batch); }

int64_t iterations_done(const Snapshots& snapshots) { return snapshots.resumed() ? snapshots.resumed()->done : 0; }

}  // namespace

QueueSnapshots::QueueSnapshots(const DenoiseContext& context, const QueueOrder& order, std::optional<CachePart> cached)
    : context_(context),
      order_(order),
      cached_(cached),
      rank_(context.comm.rank()),
      iterations_(order.iterations()),
      agenda_(context.snapshots, iterations_done(context.snapshots), iterations_),
      first_(order_.place_of(iterations_done(context.snapshots))) {}

void QueueSnapshots::restore(BlockQueue* queue, std::deque<FeatureCache>& caches, const Denoiser& denoiser) const {
  const SavedRun* kept = context_.snapshots.resumed();
  if (!kept) return;
  for (int64_t place = order_.place_of(kept->done - 1); queue && place < first_; ++place)
    queue->restore(order_[place].block, kept->ranks.at(0));
  for (size_t m = 0; cached_ && m < caches.size(); ++m)
    caches[m].restore(cache_name(m), *kept, rank_, *cached_, attending(denoiser.transformer().parts().layers),
                      denoiser.device());
}

int64_t QueueSnapshots::certain_at(int64_t iteration) {
  agenda_.ask_until(iteration + 1);
  return end();
}

bool QueueSnapshots::wanted(int64_t position) const {
  const bool keeps = rank_ == 0 || cached_;
  return keeps && agenda_.after(order_[position].iteration + 1) != SnapshotDecision::kNone;
}

void QueueSnapshots::ran(int64_t position, const std::deque<FeatureCache>& caches) {
  const int64_t done = order_[position].iteration + 1;
  if (!cached_ || position + 1 != order_.place_of(done) || !wanted(position)) return;
  Noted& noted = noted_[done];
  for (size_t m = 0; m < caches.size(); ++m) caches[m].keep(cache_name(m), *cached_, noted.state);
  complete(position, noted.features);
}

void QueueSnapshots::applied(int64_t position, const BlockQueue& queue) {
  if (rank_ > 0 || !wanted(position)) return;  // others of the first stage have the same queue
  const int64_t done = order_[position].iteration + 1;
  Noted& noted = noted_[done];
  queue.keep(order_[position].block, noted.state);
  if (position + 1 == order_.place_of(done)) complete(position, noted.blocks);
}

// One of the two parts is noted: with the other, the state is handed over.
void QueueSnapshots::complete(int64_t position, bool& part) {
  const int64_t done = order_[position].iteration + 1;
  part = true;
  Noted& noted = noted_.at(done);
  if ((rank_ == 0 && !noted.blocks) || (cached_ && !noted.features)) return;
  context_.snapshots.save(done, cached_ ? context_.comm.world_size() : 1, std::move(noted.state));
  noted_.erase(done);
}

void QueueSnapshots::finish() const {
  const int64_t taken = agenda_.certain();
  if (taken < iterations_) throw RunStopped(taken);
}

}  // namespace dualparal
