// SPDX-License-Identifier: Apache-2.0
// One stage of a pipeline of ranks: receives hidden states, runs its layers, sends them on. Stage 0 also embeds and
// gets the predictions back; the last stage applies the head and the guidance.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "comm/communicator.h"
#include "comm/recorder.h"
#include "model/wan/transformer.h"
#include "strategy/denoise/request.h"
#include "strategy/strategy.h"

namespace dualparal {

/// One pass of a window of latents through all stages.
struct StageJob {
  int64_t block = 0;
  int64_t step = 0;           ///< index of the timestep: one for the whole window
  int64_t frames = 0;         ///< latent frames of the window
  int64_t keep_begin = 0;     ///< frames [keep_begin, keep_end) of the window have their prediction kept
  int64_t keep_end = 0;
  int64_t first_position = 0; ///< temporal position of the window's first frame
};

class PipelineStage {
 public:
  /// `jobs`: every pass of the run, in order, the same on every rank, so shapes need not travel.
  /// micro_batches: 2 sends the conditional and the unconditional half one after the other.
  PipelineStage(const DenoiseContext& context, const Request& request, const Schedule& schedule,
                std::vector<StageJob> jobs, int64_t micro_batches);

  bool first() const { return rank_ == 0; }
  const std::vector<StageJob>& jobs() const { return jobs_; }
  int64_t steps() const { return schedule_.steps(); }
  int64_t micro_batches() const { return micro_batches_; }
  TokenGrid grid(const StageJob& job) const;

  /// This rank's share of the next job. Stage 0 passes the window, [1, channels, frames, h, w]; the others nothing.
  /// `attention`: the policy for a micro-batch.
  void run(const at::Tensor& window, const std::function<SelfAttention&(int64_t micro_batch)>& attention);

  /// Stage 0: waits for the oldest prediction not yet taken, [1, channels, kept frames, h, w] fp32.
  at::Tensor take_prediction();

  /// Waits until everything sent has left.
  void finish();

 private:
  struct Incoming {
    at::Tensor hidden;
    std::unique_ptr<Transfer> transfer;
  };
  struct Outgoing {
    std::unique_ptr<Transfer> transfer;
    WorkLabel label;
    int64_t peer;
    Channel channel;
  };

  int64_t batch() const { return guided_ ? 2 / micro_batches_ : 1; }
  const TimeConditioning& time(int64_t step);
  const RotaryTable& rotary(const StageJob& job);
  WorkLabel label(const StageJob& job, int64_t micro_batch) const;
  void post_receives();
  at::Tensor receive_hidden(const WorkLabel& label);
  void send(const at::Tensor& tensor, int64_t to, Channel channel, const WorkLabel& label);
  void wait_for_oldest_send();
  void deliver(const StageJob& job, at::Tensor prediction, const WorkLabel& label);

  const Transformer& model_;
  Communicator& comm_;
  Recorder& recorder_;
  const Request& request_;
  const Schedule& schedule_;
  std::vector<StageJob> jobs_;
  int64_t rank_, last_;
  bool guided_;
  int64_t micro_batches_;

  std::vector<TextContext> text_;  // by micro-batch
  std::map<int64_t, TimeConditioning> time_;
  std::map<std::pair<int64_t, int64_t>, RotaryTable> rotary_;  // by first position and number of frames

  size_t next_ = 0;      // job that run() takes
  size_t posted_ = 0;    // receives of hidden states posted, in micro-batches
  std::deque<Incoming> incoming_;
  std::deque<Outgoing> outgoing_;
  struct Awaited {
    at::Tensor prediction;
    std::unique_ptr<Transfer> transfer;  // null on a lone rank
    WorkLabel label;
  };
  std::deque<Awaited> predictions_;
};

}  // namespace dualparal
