// SPDX-License-Identifier: Apache-2.0
// A rank's part of one stage of a pipeline: receives hidden states, runs its layers, sends them on. The first stage
// also embeds and gets the predictions back; the last stage applies the head and, unless the halves are in two
// pipelines, the guidance. A stage of several ranks splits a window's tokens over them; each rank of the first stage
// gets all predictions, so that each can take the sampler's steps.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "strategy/denoise/denoiser.h"
#include "strategy/parallel/exchange.h"
#include "strategy/parallel/group_attention.h"
#include "strategy/parallel/stage_grid.h"

namespace dualparal {

/// One pass of a window of latents through all stages.
struct StageJob {
  int64_t block = 0;
  int64_t step = 0;        ///< index of the timestep: one for the whole window
  int64_t frames = 0;      ///< latent frames of the window
  int64_t keep_begin = 0;  ///< frames [keep_begin, keep_end) of the window have their prediction kept
  int64_t keep_end = 0;
  int64_t first_position = 0;  ///< temporal position of the window's first frame
  int64_t first_frame = 0;     ///< of the video
};

/// The jobs of a run in order: given, or worked out one by one where they are too many to be kept.
class StageJobs {
 public:
  StageJobs(std::vector<StageJob> jobs)  // NOLINT(google-explicit-constructor)
      : count_(jobs.size()), job_([jobs = std::move(jobs)](size_t job) { return jobs.at(job); }) {}
  /// What `job` refers to must outlive the stage.
  StageJobs(size_t count, std::function<StageJob(size_t)> job) : count_(count), job_(std::move(job)) {}

  size_t size() const { return count_; }
  StageJob operator[](size_t job) const { return job_(job); }

 private:
  size_t count_;
  std::function<StageJob(size_t)> job_;
};

class PipelineStage {
 public:
  /// `jobs`: every pass of the run, in order, the same on every rank, so shapes need not travel. `ahead`: hidden states
  /// under way beside the one that is computed, where jobs do not wait for each other. The denoiser has the halves of
  /// this rank (StageGrid::halves_of), and tells the transformer of the video, unless run() is given another.
  PipelineStage(const Denoiser& denoiser, Communicator& comm, Recorder& recorder, const StageGrid& grid, StageJobs jobs,
                size_t ahead);

  bool first() const { return place_.stage == 0; }

  /// Only the first `jobs` of them are certain to be run: no others are waited for ahead of time.
  void allow(size_t jobs) { allowed_ = std::min(jobs, jobs_.size()); }

  /// This rank's part of the next job. The first stage passes the window, [1, channels, frames, h, w]; the others
  /// nothing.
  /// `attention`: the policy for a micro-batch. of_video: tells the transformer of the job's video, where jobs are of
  /// several that differ in nothing but prompt and image.
  using Attention = std::function<SelfAttention&(int64_t micro_batch)>;
  void run(const at::Tensor& window, const Attention& attention) { run(window, attention, denoiser_); }
  void run(const at::Tensor& window, const Attention& attention, const Denoiser& of_video);

  /// What to do with the prediction of a job, [1, channels, kept frames, h, w] fp32.
  using Apply = std::function<void(int64_t job, const at::Tensor& prediction)>;
  /// First stage: waits for the predictions of all jobs up to `job` that were not yet applied, and applies them in
  /// order. Nothing on the other stages.
  void apply_until(int64_t job, const Apply& apply);

  /// Waits until everything sent has left.
  void finish() { exchange_.finish_sends(); }

 private:
  // A window's positions, of this rank's tokens and of all.
  struct Places {
    Pass own;
    RotaryTable all;
  };

  bool last() const { return place_.stage + 1 == grid_.stages; }
  Range own_tokens(const StageJob& job) const;
  Range kept_tokens(const StageJob& job, int64_t index) const;
  const Places& places(const StageJob& job);
  Pass pass(const StageJob& job);
  WorkLabel label(const StageJob& job, int64_t micro_batch) const;
  void post_receives(size_t count);
  at::Tensor receive_hidden();
  at::Tensor predict(const StageJob& job, const Pass& told, const at::Tensor& hidden) const;
  void deliver(const StageJob& job, const at::Tensor& prediction);
  void expect_prediction(const StageJob& job);
  std::vector<at::Tensor> take_pieces();
  at::Tensor put_together(const StageJob& job, const std::vector<at::Tensor>& pieces);

  const Denoiser& denoiser_;
  StageGrid grid_;
  int64_t rank_;
  StageGrid::Place place_;
  Exchange exchange_, within_;  // with other stages; within this one
  std::optional<GroupAttention> group_;
  Recorder& recorder_;
  StageJobs jobs_;
  size_t ahead_;
  size_t allowed_;

  std::map<int64_t, NoiseLevel> time_;                     // by step
  std::map<std::pair<int64_t, int64_t>, Places> windows_;  // by first position and number of frames

  size_t next_ = 0;     // job that run() takes
  size_t applied_ = 0;  // jobs whose predictions were applied
  size_t posted_ = 0;   // receives of hidden states posted, in micro-batches
  std::deque<Exchange::Incoming> hidden_;
  std::deque<std::vector<Exchange::Incoming>> predictions_;  // of a job: by half, then by rank of the last stage
};

}  // namespace dualparal
