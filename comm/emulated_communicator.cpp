// SPDX-License-Identifier: Apache-2.0
#include "comm/emulated_communicator.h"

#include "base/device.h"
#include "base/errors.h"

namespace dualparal {
namespace {

constexpr int64_t kPattern = 1 << 12;  // little memory of its own

// Real data's spread: zeros would let some processors run faster than they do, uninitialised memory slower.
void fill(const at::Tensor& target) {
  if (target.is_meta() || target.numel() == 0) return;
  static thread_local at::Tensor pattern;
  if (!pattern.defined() || pattern.device() != target.device() || pattern.scalar_type() != target.scalar_type())
    pattern = at::randn({kPattern}, at::TensorOptions().device(target.device()).dtype(target.scalar_type()));
  const at::Tensor flat = target.view(-1);
  const int64_t whole = flat.size(0) / kPattern * kPattern;
  if (whole > 0) flat.slice(0, 0, whole).view({-1, kPattern}).copy_(pattern.expand({whole / kPattern, kPattern}));
  flat.slice(0, whole).copy_(pattern.slice(0, 0, flat.size(0) - whole));
  synchronize(target.device());  // or the next computation would be charged with it
}

class EmulatedTransfer final : public Transfer {
 public:
  EmulatedTransfer(at::Tensor tensor, bool receiving) : tensor_(std::move(tensor)), receiving_(receiving) {}
  void wait() override {
    if (receiving_ && tensor_.defined()) fill(tensor_);
    tensor_.reset();
  }

 private:
  at::Tensor tensor_;
  bool receiving_;
};

class EmulatedCommunicator final : public Communicator {
 public:
  EmulatedCommunicator(int64_t rank, int64_t world_size) : rank_(rank), world_size_(world_size) {}
  int64_t rank() const override { return rank_; }
  int64_t world_size() const override { return world_size_; }

  std::unique_ptr<Transfer> send(const at::Tensor& tensor, int64_t to, Channel) override {
    check_peer(to);
    return std::make_unique<EmulatedTransfer>(tensor, false);
  }
  std::unique_ptr<Transfer> receive(const at::Tensor& target, int64_t from, Channel) override {
    check_peer(from);
    return std::make_unique<EmulatedTransfer>(target, true);
  }
  void broadcast(at::Tensor&) override {}
  void barrier() override {}
  std::vector<std::string> gather(const std::string& text) override {
    return std::vector<std::string>(static_cast<size_t>(world_size_), text);
  }

 private:
  void check_peer(int64_t peer) const {
    check(0 <= peer && peer < world_size_ && peer != rank_, "rank {} of {} cannot exchange messages with rank {}",
          rank_, world_size_, peer);
  }

  int64_t rank_, world_size_;
};

}  // namespace

std::unique_ptr<Communicator> emulated_communicator(int64_t rank, int64_t world_size) {
  check(0 <= rank && rank < world_size, "rank {} of {} cannot be", rank, world_size);
  return std::make_unique<EmulatedCommunicator>(rank, world_size);
}

}  // namespace dualparal
