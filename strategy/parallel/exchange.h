// SPDX-License-Identifier: Apache-2.0
// All messages between ranks while they denoise, noted by the recorder: posted at once, waited for when needed.
#pragma once

#include <deque>
#include <memory>

#include "comm/communicator.h"
#include "comm/recorder.h"

namespace dualparal {

class Exchange {
 public:
  /// depth: messages that may be on their way out before the oldest is waited for; 0: any number.
  Exchange(Communicator& comm, Recorder& recorder, size_t depth = 0)
      : comm_(comm), recorder_(recorder), depth_(depth) {}

  int64_t rank() const { return comm_.rank(); }
  int64_t world_size() const { return comm_.world_size(); }

  /// What the messages posted from now on belong to.
  void begin(const WorkLabel& label) { label_ = label; }
  /// The same, within one layer.
  void begin_layer(int64_t layer) {
    label_.first_layer = label_.last_layer = layer;
    label_.first_part = 0;
    label_.last_part = kLayerParts - 1;
  }

  /// A tensor on its way. take() waits for it and gives it.
  class Incoming {
   public:
    Incoming() = default;
    /// One that is here already.
    explicit Incoming(at::Tensor tensor) : tensor_(std::move(tensor)) {}
    at::Tensor take();

   private:
    friend class Exchange;
    Exchange* exchange_ = nullptr;
    at::Tensor tensor_;
    int64_t from_ = 0;
    Channel channel_ = Channel::kForward;
    WorkLabel label_;
    std::unique_ptr<Transfer> transfer_;
  };

  /// Messages without elements are not sent, neither are they received.
  void send(const at::Tensor& tensor, int64_t to, Channel channel = Channel::kForward);
  Incoming receive(at::IntArrayRef shape, const at::TensorOptions& options, int64_t from,
                   Channel channel = Channel::kForward);

  /// Until all but the newest `left` sends are done: their tensors are freed.
  void finish_sends(size_t left = 0);

 private:
  Communicator& comm_;
  Recorder& recorder_;
  size_t depth_;
  WorkLabel label_;
  struct Outgoing {
    std::unique_ptr<Transfer> transfer;
    WorkLabel label;
    int64_t to;
    Channel channel;
  };
  std::deque<Outgoing> sends_;
};

/// Every rank of `ranks` (this one included) gives a tensor for every other, and gets theirs. parts[i] goes to
/// ranks[i]; shapes[i] is what comes from ranks[i]. This rank's own part is handed over as it is.
std::vector<at::Tensor> all_to_all(Exchange& exchange, const std::vector<int64_t>& ranks, int64_t own,
                                   const std::vector<at::Tensor>& parts,
                                   const std::vector<std::vector<int64_t>>& shapes);

}  // namespace dualparal
