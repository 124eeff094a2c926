// SPDX-License-Identifier: Apache-2.0
// Snapshots in memory, of ranks that are threads of the test.
#pragma once

#include <map>
#include <mutex>
#include <set>

#include "tests/ranks.h"

namespace dualparal::testing {

/// A run whose state is kept after all its iterations, and which may be stopped after one. What is kept are the run's
/// own tensors: a strategy that changed one later would be found out.
class KeptRun {
 public:
  int64_t stop_after = -1;  ///< -1: never
  const SavedRun* resumed = nullptr;

  /// What was kept, by iterations done; frames: how many latent frames were finished by then.
  std::map<int64_t, SavedRun> saved;
  std::map<int64_t, int64_t> frames;
  at::Tensor latents;  ///< that the run has finished

  /// Runs it. Whether it was stopped.
  bool run(const StrategyEntry& entry, const OptionValues& options, const Request& request, int64_t world_size,
           const TransformerConfig& config, uint64_t delays = 0) {
    struct Sink final : LatentsSink {
      std::vector<at::Tensor> pieces;
      int64_t frames = 0;
      void push(const at::Tensor& piece) override {
        pieces.push_back(piece.clone());
        frames += piece.size(2);
      }
    } sink;
    std::vector<std::unique_ptr<Snapshots>> ranks;
    for (int64_t rank = 0; rank < world_size; ++rank)
      ranks.push_back(std::make_unique<Rank>(*this, rank, world_size, sink.frames));
    bool stopped = false;
    try {
      denoise_into(sink, entry, options, request, world_size, config, at::kFloat, delays, nullptr,
                   [&](int64_t rank) { return ranks[rank].get(); });
    } catch (const RunStopped& stop) {
      BOOST_TEST(stop.done() == stop_after);
      stopped = true;
    }
    latents = sink.pieces.empty() ? at::Tensor() : at::cat(sink.pieces, 2);
    return stopped;
  }

 private:
  class Rank final : public Snapshots {
   public:
    Rank(KeptRun& run, int64_t rank, int64_t world_size, const int64_t& frames)
        : run_(run), rank_(rank), world_size_(world_size), frames_(frames) {}
    bool active() const override { return true; }
    const SavedRun* resumed() const override { return run_.resumed; }
    SnapshotDecision decide(int64_t done) override {
      const int64_t next = last_.value_or(run_.resumed ? run_.resumed->done : 0) + 1;
      check(done == next, "rank {} asked for {}, expected {}", rank_, done, next);
      last_ = done;
      return done == run_.stop_after ? SnapshotDecision::kKeepAndStop : SnapshotDecision::kKeep;
    }
    void save(int64_t done, int64_t keepers, RunState state) override {
      const std::lock_guard lock(run_.mutex_);
      SavedRun& saved = run_.saved[done];
      saved.done = done;
      saved.world_size = world_size_;
      saved.ranks.resize(keepers);
      saved.ranks.at(rank_) = std::move(state);
      if (rank_ == 0) run_.frames[done] = frames_;
    }
    void ended() override {
      if (run_.stop_after >= 0) throw RunStopped(run_.stop_after);
    }

   private:
    KeptRun& run_;
    int64_t rank_, world_size_;
    const int64_t& frames_;
    std::optional<int64_t> last_;
  };

  std::mutex mutex_;
};

}  // namespace dualparal::testing
