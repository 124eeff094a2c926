// SPDX-License-Identifier: Apache-2.0
#include "strategy/parallel/exchange.h"

namespace dualparal {

at::Tensor Exchange::Incoming::take() {
  if (transfer_) {
    const auto span = exchange_->recorder_.receive(label_, from_, channel_, static_cast<int64_t>(tensor_.nbytes()));
    transfer_->wait();
    transfer_.reset();
  }
  return std::move(tensor_);
}

void Exchange::send(const at::Tensor& tensor, int64_t to, Channel channel) {
  if (tensor.numel() == 0) return;
  if (depth_ > 0) finish_sends(depth_ - 1);
  const at::Tensor message = tensor.contiguous();
  const auto span = recorder_.send(label_, to, channel, static_cast<int64_t>(message.nbytes()));
  sends_.push_back({comm_.send(message, to, channel), label_, to, channel});
}

Exchange::Incoming Exchange::receive(at::IntArrayRef shape, const at::TensorOptions& options, int64_t from,
                                     Channel channel) {
  Incoming incoming(at::empty(shape, options));
  incoming.exchange_ = this;
  incoming.from_ = from;
  incoming.channel_ = channel;
  incoming.label_ = label_;
  if (incoming.tensor_.numel() > 0) incoming.transfer_ = comm_.receive(incoming.tensor_, from, channel);
  return incoming;
}

void Exchange::finish_sends(size_t left) {
  while (sends_.size() > left) {
    const Outgoing& oldest = sends_.front();
    const auto span = recorder_.wait(oldest.label, oldest.to, oldest.channel);
    oldest.transfer->wait();
    sends_.pop_front();
  }
}

std::vector<at::Tensor> all_to_all(Exchange& exchange, const std::vector<int64_t>& ranks, int64_t own,
                                   const std::vector<at::Tensor>& parts,
                                   const std::vector<std::vector<int64_t>>& shapes) {
  const auto count = static_cast<int64_t>(ranks.size());
  std::vector<Exchange::Incoming> incoming(count);
  for (int64_t i = 0; i < count; ++i)
    if (i != own) incoming[i] = exchange.receive(shapes[i], parts[own].options(), ranks[i]);
  // Each begins with another neighbour, so that nobody is sent everything at once.
  for (int64_t i = 1; i < count; ++i) exchange.send(parts[(own + i) % count], ranks[(own + i) % count]);
  std::vector<at::Tensor> out;
  for (int64_t i = 0; i < count; ++i) out.push_back(i == own ? parts[own] : incoming[i].take());
  exchange.finish_sends();
  return out;
}

}  // namespace dualparal
