// SPDX-License-Identifier: Apache-2.0
#include "strategy/parallel/pipeline_stage.h"

#include "base/errors.h"
#include "base/nvtx.h"
#include "strategy/denoise/guidance.h"

namespace dualparal {
namespace {

// Double buffering: one message under way while the next is computed.
constexpr size_t kBuffers = 2;

TextContext half_of(const TextContext& text, int64_t half) {
  TextContext out;
  for (const auto& layer : text.layers)
    out.layers.push_back(layer.key.defined()
                             ? TextContext::KeyValue{layer.key.slice(0, half, half + 1), layer.value.slice(0, half, half + 1)}
                             : TextContext::KeyValue{});
  return out;
}

}  // namespace

PipelineStage::PipelineStage(const DenoiseContext& context, const Request& request, const Schedule& schedule,
                             std::vector<StageJob> jobs, int64_t micro_batches)
    : model_(context.transformer),
      comm_(context.comm),
      recorder_(context.recorder),
      request_(request),
      schedule_(schedule),
      jobs_(std::move(jobs)),
      rank_(context.comm.rank()),
      last_(context.comm.world_size() - 1),
      guided_(request.guided()),
      micro_batches_(request.guided() ? micro_batches : 1) {
  const TextContext text = model_.text_context(guidance_batch(request));
  if (micro_batches_ == 1)
    text_.push_back(text);
  else
    for (int64_t half = 0; half < 2; ++half) text_.push_back(half_of(text, half));
  post_receives();
}

TokenGrid PipelineStage::grid(const StageJob& job) const {
  return model_.grid({1, request_.channels, job.frames, request_.latent_height, request_.latent_width});
}

const TimeConditioning& PipelineStage::time(int64_t step) {
  const auto found = time_.find(step);
  if (found != time_.end()) return found->second;
  const at::Tensor timestep = at::scalar_tensor(schedule_.timesteps[step]).view({1});
  return time_.emplace(step, model_.time_conditioning(timestep)).first->second;
}

const RotaryTable& PipelineStage::rotary(const StageJob& job) {
  const std::pair key{job.first_position, job.frames};
  const auto found = rotary_.find(key);
  if (found != rotary_.end()) return found->second;
  return rotary_.emplace(key, model_.rotary().table(grid(job), job.first_position, model_.device())).first->second;
}

WorkLabel PipelineStage::label(const StageJob& job, int64_t micro_batch) const {
  return {job.block, job.step, model_.parts().layers.begin, model_.parts().layers.end - 1, micro_batch};
}

void PipelineStage::post_receives() {
  if (first()) return;
  const size_t all = jobs_.size() * micro_batches_;
  while (incoming_.size() < kBuffers && posted_ < all) {
    const StageJob& job = jobs_[posted_++ / micro_batches_];
    at::Tensor hidden = at::empty({batch(), grid(job).tokens(), model_.config().dim()},
                                  at::TensorOptions().device(model_.device()).dtype(model_.dtype()));
    auto transfer = comm_.receive(hidden, rank_ - 1, Channel::kForward);
    incoming_.push_back({hidden, std::move(transfer)});
  }
}

at::Tensor PipelineStage::receive_hidden(const WorkLabel& label) {
  Incoming next = std::move(incoming_.front());
  incoming_.pop_front();
  {
    const auto span = recorder_.receive(label, rank_ - 1, Channel::kForward, next.hidden.nbytes());
    next.transfer->wait();
  }
  post_receives();
  return next.hidden;
}

void PipelineStage::send(const at::Tensor& tensor, int64_t to, Channel channel, const WorkLabel& label) {
  while (outgoing_.size() >= kBuffers) wait_for_oldest_send();
  const auto span = recorder_.send(label, to, channel, static_cast<int64_t>(tensor.nbytes()));
  outgoing_.push_back({comm_.send(tensor, to, channel), label, to, channel});
}

void PipelineStage::run(const at::Tensor& window, const std::function<SelfAttention&(int64_t)>& attention) {
  const StageJob& job = jobs_.at(next_++);
  const NvtxRange range("block {} step {}", job.block, job.step);
  std::vector<at::Tensor> halves;
  for (int64_t m = 0; m < micro_batches_; ++m) {
    const WorkLabel work = label(job, m);
    at::Tensor hidden = first() ? at::Tensor() : receive_hidden(work);
    {
      const auto span = recorder_.compute(work);
      if (first()) {
        auto shape = window.sizes().vec();
        shape[0] = batch();
        hidden = model_.embed(window.expand(shape));
      }
      model_.forward_layers(model_.parts().layers, hidden, time(job.step), text_[m], rotary(job), attention(m));
      if (rank_ == last_)
        halves.push_back(model_.head(hidden, time(job.step), grid(job)).slice(2, job.keep_begin, job.keep_end));
    }
    if (rank_ < last_) send(hidden, rank_ + 1, Channel::kForward, work);
  }
  if (rank_ == last_) deliver(job, apply_guidance(request_, at::cat(halves)).contiguous(), label(job, 0));
  if (first() && last_ > 0) {
    at::Tensor prediction = at::empty({1, model_.config().out_channels, job.keep_end - job.keep_begin,
                                       request_.latent_height, request_.latent_width},
                                      at::TensorOptions().device(model_.device()).dtype(at::kFloat));
    auto transfer = comm_.receive(prediction, last_, Channel::kReturn);
    predictions_.push_back({prediction, std::move(transfer), {job.block, job.step, 0, -1, 0}});
  }
}

void PipelineStage::deliver(const StageJob& job, at::Tensor prediction, const WorkLabel& label) {
  if (last_ == 0)
    predictions_.push_back({std::move(prediction), nullptr, {job.block, job.step, 0, -1, 0}});
  else
    send(prediction, 0, Channel::kReturn, label);
}

at::Tensor PipelineStage::take_prediction() {
  check(!predictions_.empty(), "a prediction was asked for before its job was run");
  Awaited next = std::move(predictions_.front());
  predictions_.pop_front();
  if (next.transfer) {
    const auto span = recorder_.receive(next.label, last_, Channel::kReturn, next.prediction.nbytes());
    next.transfer->wait();
  }
  return next.prediction;
}

void PipelineStage::wait_for_oldest_send() {
  const Outgoing& oldest = outgoing_.front();
  const auto span = recorder_.wait(oldest.label, oldest.peer, oldest.channel);
  oldest.transfer->wait();
  outgoing_.pop_front();
}

void PipelineStage::finish() {
  while (!outgoing_.empty()) wait_for_oldest_send();
}

}  // namespace dualparal
