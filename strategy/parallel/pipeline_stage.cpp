// SPDX-License-Identifier: Apache-2.0
#include "strategy/parallel/pipeline_stage.h"

#include <algorithm>

#include "base/errors.h"
#include "base/measure/nvtx.h"

namespace dualparal {
namespace {

// Of the latents' side of a job: no layers.
WorkLabel latents_label(const StageJob& job) { return {job.block, job.step, 0, -1, 0}; }

}  // namespace

PipelineStage::PipelineStage(const Denoiser& denoiser, Communicator& comm, Recorder& recorder,
                             std::vector<StageJob> jobs, size_t ahead)
    : denoiser_(denoiser),
      exchange_(comm, recorder, std::max<size_t>(1, ahead)),
      recorder_(recorder),
      jobs_(std::move(jobs)),
      ahead_(ahead),
      rank_(comm.rank()),
      last_(comm.world_size() - 1) {
  post_receives(ahead_);
}

Pass PipelineStage::pass(const StageJob& job) {
  const std::pair key{job.first_position, job.frames};
  auto window = windows_.find(key);
  if (window == windows_.end())
    window = windows_.emplace(key, denoiser_.pass({0, job.frames}, job.first_position)).first;
  auto time = time_.find(job.step);
  if (time == time_.end()) time = time_.emplace(job.step, denoiser_.time(job.step)).first;
  Pass pass = window->second;
  pass.frames = {job.first_frame, job.first_frame + job.frames};
  pass.time = time->second;
  return pass;
}

WorkLabel PipelineStage::label(const StageJob& job, int64_t micro_batch) const {
  const LayerRange& layers = denoiser_.transformer().parts().layers;
  return {job.block, job.step, layers.begin, layers.end - 1, micro_batch};
}

void PipelineStage::post_receives(size_t count) {
  if (first()) return;
  const auto micro_batches = static_cast<size_t>(denoiser_.micro_batches());
  const Transformer& model = denoiser_.transformer();
  while (hidden_.size() < count && posted_ < jobs_.size() * micro_batches) {
    const StageJob& job = jobs_[posted_ / micro_batches];
    exchange_.begin(label(job, static_cast<int64_t>(posted_ % micro_batches)));
    hidden_.push_back(exchange_.receive({denoiser_.batch(), denoiser_.grid(job.frames).tokens(), model.config().dim()},
                                        at::TensorOptions().device(model.device()).dtype(model.dtype()), rank_ - 1));
    ++posted_;
  }
}

at::Tensor PipelineStage::receive_hidden() {
  post_receives(std::max<size_t>(1, ahead_));
  at::Tensor hidden = hidden_.front().take();
  hidden_.pop_front();
  post_receives(ahead_);
  return hidden;
}

void PipelineStage::run(const at::Tensor& window, const std::function<SelfAttention&(int64_t)>& attention) {
  const StageJob& job = jobs_.at(next_++);
  const NvtxRange range("block {} step {}", job.block, job.step);
  std::vector<at::Tensor> halves;
  for (int64_t m = 0; m < denoiser_.micro_batches(); ++m) {
    const WorkLabel work = label(job, m);
    at::Tensor hidden = first() ? at::Tensor() : receive_hidden();
    {
      const auto span = recorder_.compute(work);
      const Pass told = pass(job);
      if (first()) hidden = denoiser_.embed(told, window);
      denoiser_.layers(told, hidden, attention(m), m);
      if (rank_ == last_) halves.push_back(denoiser_.head(told, hidden).slice(2, job.keep_begin, job.keep_end));
    }
    exchange_.begin(work);
    if (rank_ < last_) exchange_.send(hidden, rank_ + 1);
  }
  if (rank_ == last_) deliver(job, denoiser_.guide(pass(job), at::cat(halves)).contiguous());
  if (first() && last_ > 0) expect_prediction(job);
}

void PipelineStage::deliver(const StageJob& job, const at::Tensor& prediction) {
  if (last_ == 0) {
    predictions_.emplace_back(prediction);
    return;
  }
  exchange_.begin(label(job, 0));
  exchange_.send(prediction, 0, Channel::kReturn);
}

void PipelineStage::expect_prediction(const StageJob& job) {
  const Transformer& model = denoiser_.transformer();
  const TokenGrid grid = denoiser_.grid(job.frames);
  const auto& patch = model.config().patch_size;
  exchange_.begin(latents_label(job));
  predictions_.push_back(exchange_.receive(
      {1, model.config().out_channels, job.keep_end - job.keep_begin, grid.height * patch[1], grid.width * patch[2]},
      at::TensorOptions().device(model.device()).dtype(at::kFloat), last_, Channel::kReturn));
}

void PipelineStage::apply_until(int64_t job, const Apply& apply) {
  if (!first()) return;
  for (; static_cast<int64_t>(applied_) <= job; ++applied_) {
    const at::Tensor prediction = take_prediction();
    const auto span = recorder_.compute(latents_label(jobs_[applied_]));
    apply(static_cast<int64_t>(applied_), prediction);
  }
}

at::Tensor PipelineStage::take_prediction() {
  check(!predictions_.empty(), "a prediction was asked for before its job was run");
  at::Tensor prediction = predictions_.front().take();
  predictions_.pop_front();
  return prediction;
}

}  // namespace dualparal
