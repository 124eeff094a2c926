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

PipelineStage::PipelineStage(const Denoiser& denoiser, Communicator& comm, Recorder& recorder, const StageGrid& grid,
                             StageJobs jobs, size_t ahead)
    : denoiser_(denoiser),
      grid_(grid),
      rank_(comm.rank()),
      place_(grid.place(rank_)),
      exchange_(comm, recorder, std::max<size_t>(1, ahead) * static_cast<size_t>(grid.halves * grid.sequence)),
      within_(comm, recorder),
      recorder_(recorder),
      jobs_(std::move(jobs)),
      ahead_(ahead),
      allowed_(jobs_.size()) {
  if (grid.sequence > 1)
    group_.emplace(within_, grid.group(place_), place_.index, denoiser.transformer().parts().layers);
}

Range PipelineStage::own_tokens(const StageJob& job) const {
  return grid_.split(denoiser_.grid(job.frames).tokens()).at(place_.index);
}

// Of the tokens that rank `index` of a stage processes, those whose prediction is kept, counted from its first.
Range PipelineStage::kept_tokens(const StageJob& job, int64_t index) const {
  const int64_t frame = denoiser_.grid(1).tokens();
  const Range held = grid_.split(job.frames * frame).at(index);
  const Range kept = intersection(held, {job.keep_begin * frame, job.keep_end * frame});
  return {kept.begin - held.begin, kept.end - held.begin};
}

const PipelineStage::Places& PipelineStage::places(const StageJob& job) {
  const std::pair key{job.first_position, job.frames};
  auto window = windows_.find(key);
  if (window == windows_.end()) {
    Places places;
    places.own = denoiser_.pass({0, job.frames}, job.first_position);
    if (group_) {
      places.all = places.own.rotary;
      places.own = denoiser_.pass({0, job.frames}, job.first_position, own_tokens(job));
    }
    window = windows_.emplace(key, std::move(places)).first;
  }
  return window->second;
}

Pass PipelineStage::pass(const StageJob& job) {
  auto time = time_.find(job.step);
  if (time == time_.end()) time = time_.emplace(job.step, denoiser_.time(job.step)).first;
  Pass pass = places(job).own;
  pass.frames = {job.first_frame, job.first_frame + job.frames};
  pass.time = time->second;
  pass.prompt = denoiser_.prompt_at(job.first_frame + job.keep_begin);
  return pass;
}

WorkLabel PipelineStage::label(const StageJob& job, int64_t micro_batch) const {
  const LayerRange& layers = denoiser_.transformer().parts().layers;
  WorkLabel label{job.block, job.step, layers.begin, layers.end - 1, micro_batch};
  if (layers.from != LayerCut{}) label.first_part = layers.from.part;
  // A cut that is no share of a part ends with the part before it.
  if (layers.to.part < kLayerParts) label.last_part = layers.to.part - (layers.to.permille > 0 ? 0 : 1);
  return label;
}

void PipelineStage::post_receives(size_t count) {
  if (first()) return;
  const auto micro_batches = static_cast<size_t>(denoiser_.micro_batches());
  const Transformer& model = denoiser_.transformer();
  while (hidden_.size() < count && posted_ < allowed_ * micro_batches) {
    const StageJob job = jobs_[posted_ / micro_batches];
    exchange_.begin(label(job, static_cast<int64_t>(posted_ % micro_batches)));
    const int64_t tokens = own_tokens(job).size();
    hidden_.push_back(
        exchange_.receive({denoiser_.batch(), tokens + model.parts().layers.carried_in(tokens), model.config().dim()},
                          at::TensorOptions().device(model.device()).dtype(model.dtype()),
                          grid_.rank({place_.half, place_.stage - 1, place_.index})));
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

void PipelineStage::run(const at::Tensor& window, const Attention& attention, const Denoiser& of_video) {
  const StageJob job = jobs_[next_++];
  const NvtxRange range("block {} step {}", job.block, job.step);
  std::vector<at::Tensor> halves;
  for (int64_t m = 0; m < denoiser_.micro_batches(); ++m) {
    const WorkLabel work = label(job, m);
    at::Tensor hidden = first() ? at::Tensor() : receive_hidden();
    {
      const auto span = recorder_.compute(work);
      const Pass told = pass(job);
      if (first()) hidden = of_video.embed(told, window);
      if (group_) {
        within_.begin(work);
        group_->begin(attention(m), places(job).all, grid_.split(told.grid.tokens()));
      }
      of_video.layers(told, hidden, group_ ? *group_ : attention(m), m);
      if (last()) halves.push_back(predict(job, told, hidden));
    }
    exchange_.begin(work);
    if (!last()) exchange_.send(hidden, grid_.rank({place_.half, place_.stage + 1, place_.index}));
  }
  if (first()) expect_prediction(job);  // before its own is sent: the others may wait for that
  if (!last()) return;
  const at::Tensor prediction = at::cat(halves);
  deliver(job, (grid_.halves > 1 ? prediction : denoiser_.guide(pass(job), prediction)).contiguous());
}

// Of the frames that are kept, or of this rank's tokens of them.
at::Tensor PipelineStage::predict(const StageJob& job, const Pass& told, const at::Tensor& hidden) const {
  if (!group_) return denoiser_.head(told, hidden).slice(2, job.keep_begin, job.keep_end);
  const Range kept = kept_tokens(job, place_.index);
  return denoiser_.project(told, hidden).slice(1, kept.begin, kept.end);
}

void PipelineStage::deliver(const StageJob& job, const at::Tensor& prediction) {
  exchange_.begin(label(job, 0));
  for (const int64_t rank : grid_.samplers())
    if (rank == rank_)
      predictions_.back().at(place_.half * grid_.sequence + place_.index) = Exchange::Incoming(prediction);
    else
      exchange_.send(prediction, rank, Channel::kReturn);
}

void PipelineStage::expect_prediction(const StageJob& job) {
  const Transformer& model = denoiser_.transformer();
  const TokenGrid grid = denoiser_.grid(job.frames);
  const auto& patch = model.config().patch_size;
  const int64_t channels = model.config().out_channels;
  const auto options = at::TensorOptions().device(model.device()).dtype(grid_.halves > 1 ? model.dtype() : at::kFloat);
  exchange_.begin(latents_label(job));
  auto& pieces = predictions_.emplace_back();
  for (int64_t half = 0; half < grid_.halves; ++half)
    for (int64_t index = 0; index < grid_.sequence; ++index) {
      const int64_t from = grid_.rank({half, grid_.stages - 1, index});
      std::vector<int64_t> shape{1, kept_tokens(job, index).size(), channels * patch[0] * patch[1] * patch[2]};
      if (!group_) shape = {1, channels, job.keep_end - job.keep_begin, grid.height * patch[1], grid.width * patch[2]};
      pieces.push_back(from == rank_ ? Exchange::Incoming()
                                     : exchange_.receive(shape, options, from, Channel::kReturn));
    }
}

void PipelineStage::apply_until(int64_t job, const Apply& apply) {
  if (!first()) return;
  for (; static_cast<int64_t>(applied_) <= job; ++applied_) {
    const auto pieces = take_pieces();
    const StageJob job = jobs_[applied_];
    const auto span = recorder_.compute(latents_label(job));
    apply(static_cast<int64_t>(applied_), put_together(job, pieces));
  }
}

std::vector<at::Tensor> PipelineStage::take_pieces() {
  check(!predictions_.empty(), "a prediction was asked for before its job was run");
  std::vector<at::Tensor> pieces;
  for (Exchange::Incoming& piece : predictions_.front()) pieces.push_back(piece.take());
  predictions_.pop_front();
  return pieces;
}

// A job's prediction from those of the last stages' ranks.
at::Tensor PipelineStage::put_together(const StageJob& job, const std::vector<at::Tensor>& pieces) {
  std::vector<at::Tensor> halves;
  for (int64_t half = 0; half < grid_.halves; ++half) {
    const auto begin = pieces.begin() + half * grid_.sequence;
    halves.push_back(group_ ? at::cat(std::vector<at::Tensor>(begin, begin + grid_.sequence), 1) : *begin);
  }
  at::Tensor prediction = halves[0];
  const Pass told = pass(job);
  if (grid_.halves > 1) prediction = denoiser_.guide(told, at::cat(halves));
  if (!group_) return prediction;
  Pass kept = told;
  kept.grid = denoiser_.grid(job.keep_end - job.keep_begin);
  return denoiser_.unpatchify(kept, prediction);
}

}  // namespace dualparal
