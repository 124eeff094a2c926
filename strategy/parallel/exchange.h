// SPDX-License-Identifier: Apache-2.0
// Messages between ranks inside a layer or a step, noted by the recorder: posted at once, waited for when needed.
#pragma once

#include <deque>
#include <memory>

#include "comm/communicator.h"
#include "comm/recorder.h"

namespace dualparal {

class Exchange {
 public:
  Exchange(Communicator& comm, Recorder& recorder) : comm_(comm), recorder_(recorder) {}

  int64_t rank() const { return comm_.rank(); }

  /// What the messages from now on belong to.
  void begin(const WorkLabel& label) { label_ = label; }
  const WorkLabel& label() const { return label_; }

  /// A tensor on its way. take() waits for it and gives it.
  class Incoming {
   public:
    at::Tensor take();

   private:
    friend class Exchange;
    Exchange* exchange_ = nullptr;
    at::Tensor tensor_;
    int64_t from_ = 0;
    std::unique_ptr<Transfer> transfer_;
  };

  /// Messages without elements are not sent, neither are they received.
  void send(const at::Tensor& tensor, int64_t to);
  Incoming receive(at::IntArrayRef shape, const at::TensorOptions& options, int64_t from);

  /// Until all but the newest `left` sends are done: their tensors are freed.
  void finish_sends(size_t left = 0);

 private:
  Communicator& comm_;
  Recorder& recorder_;
  WorkLabel label_;
  struct Outgoing {
    std::unique_ptr<Transfer> transfer;
    int64_t to;
  };
  std::deque<Outgoing> sends_;
};

/// Every rank of `ranks` (this one included) gives a tensor for every other, and gets theirs. parts[i] goes to ranks[i];
/// shapes[i] is what comes from ranks[i]. This rank's own part is handed over as it is.
std::vector<at::Tensor> all_to_all(Exchange& exchange, const std::vector<int64_t>& ranks, int64_t own,
                                   const std::vector<at::Tensor>& parts,
                                   const std::vector<std::vector<int64_t>>& shapes);

}  // namespace dualparal
