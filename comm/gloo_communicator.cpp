// SPDX-License-Identifier: Apache-2.0
#include "comm/gloo_communicator.h"

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include "base/errors.h"
#include "base/measure/nvtx.h"
#include "comm/store_gather.h"
#include "comm/with_peer.h"

namespace dualparal {
namespace {

using c10d::ProcessGroupGloo;
using WorkHandle = c10::intrusive_ptr<c10d::Work>;

class GlooTransfer final : public Transfer {
 public:
  GlooTransfer(WorkHandle work, at::Tensor host, at::Tensor target, int64_t peer, bool sending)
      : work_(std::move(work)), host_(std::move(host)), target_(std::move(target)), peer_(peer), sending_(sending) {}
  ~GlooTransfer() override = default;

  void wait() override {
    if (!work_) return;
    with_peer(peer_, sending_ ? "sending to" : "receiving from", [&] { work_->wait(); });
    if (target_.defined()) target_.copy_(host_);
    work_.reset();
    host_.reset();
  }

 private:
  WorkHandle work_;
  at::Tensor host_;    // what Gloo reads or writes
  at::Tensor target_;  // where it goes on the device; undefined if it is there already
  int64_t peer_;
  bool sending_;
};

// For messages of a GPU's tensors: copies to and from pinned memory go at the bus's speed.
at::Tensor host_like(const at::Tensor& tensor) {
  return at::empty(tensor.sizes(), tensor.options().device(at::kCPU).pinned_memory(tensor.is_cuda()));
}

class GlooCommunicator final : public Communicator {
 public:
  GlooCommunicator(c10::intrusive_ptr<c10d::Store> store, const GlooOptions& options)
      : options_(options), gather_(store, all_ranks(options.world_size), options.rank, options.timeout) {
    const auto group_options = ProcessGroupGloo::Options::create_default(options.timeout);
    if (options.loopback && !std::getenv("GLOO_SOCKET_IFNAME"))
      group_options->devices = {ProcessGroupGloo::createDeviceForHostname("127.0.0.1")};
    group_ = c10::make_intrusive<ProcessGroupGloo>(c10::make_intrusive<c10d::PrefixStore>("gloo", store),
                                                   static_cast<int>(options.rank), static_cast<int>(options.world_size),
                                                   group_options);
  }

  int64_t rank() const override { return options_.rank; }
  int64_t world_size() const override { return options_.world_size; }

  std::unique_ptr<Transfer> send(const at::Tensor& tensor, int64_t to, Channel channel) override {
    const at::Tensor host = tensor.is_cpu() ? tensor.contiguous() : host_like(tensor).copy_(tensor);
    std::vector<at::Tensor> tensors{host};
    WorkHandle work;
    with_peer(to, "sending to", [&] { work = group_->send(tensors, static_cast<int>(to), static_cast<int>(channel)); });
    return std::make_unique<GlooTransfer>(work, host, at::Tensor(), to, true);
  }

  std::unique_ptr<Transfer> receive(const at::Tensor& target, int64_t from, Channel channel) override {
    const bool direct = target.is_cpu() && target.is_contiguous();
    const at::Tensor host = direct ? target : host_like(target);
    std::vector<at::Tensor> tensors{host};
    WorkHandle work;
    with_peer(from, "receiving from",
              [&] { work = group_->recv(tensors, static_cast<int>(from), static_cast<int>(channel)); });
    return std::make_unique<GlooTransfer>(work, host, direct ? at::Tensor() : target, from, false);
  }

  void broadcast(at::Tensor& tensor) override {
    const NvtxRange range("broadcast from rank 0");
    std::vector<at::Tensor> host{tensor.to(at::kCPU).contiguous()};
    c10d::BroadcastOptions options;
    options.rootRank = 0;
    with_peer(0, "a broadcast from", [&] { group_->broadcast(host, options)->wait(); });
    tensor = host[0].to(tensor.device());
  }

  void barrier() override {
    // Through the store, which can name who is missing.
    gather("");
  }

  std::vector<std::string> gather(const std::string& text) override {
    const NvtxRange range("gather from all ranks");
    return gather_.gather(text);
  }
  std::vector<std::string> gather_patiently(const std::string& text) override {
    const NvtxRange range("gather from all ranks");
    return gather_.gather_patiently(text);
  }

  // The store's messages have a limit of some MiB: these travel between the ranks, in pieces.
  std::vector<std::string> gather_on_first(const std::string& text) override {
    const NvtxRange range("gather on rank 0");
    const auto lengths = gather(std::to_string(text.size()));
    if (rank() > 0) {
      transfer_text(const_cast<char*>(text.data()), text.size(), [&](std::vector<at::Tensor>& piece) {
        with_peer(0, "sending to", [&] { group_->send(piece, 0, kTextTag)->wait(); });
      });
      return {};
    }
    std::vector<std::string> texts{text};
    for (int64_t other = 1; other < world_size(); ++other) {
      texts.emplace_back(std::stoull(lengths[other]), '\0');
      transfer_text(texts.back().data(), texts.back().size(), [&](std::vector<at::Tensor>& piece) {
        with_peer(other, "receiving from", [&] { group_->recv(piece, static_cast<int>(other), kTextTag)->wait(); });
      });
    }
    return texts;
  }

 private:
  static constexpr int kTextTag = 3;  // beside the channels
  static constexpr size_t kPieceBytes = size_t{4} << 20;

  template <class Exchange>
  static void transfer_text(char* text, size_t bytes, const Exchange& exchange) {
    for (size_t begin = 0; begin < bytes; begin += kPieceBytes) {
      const auto length = static_cast<int64_t>(std::min(kPieceBytes, bytes - begin));
      std::vector<at::Tensor> piece{at::from_blob(text + begin, {length}, at::kByte)};
      exchange(piece);
    }
  }

  static std::vector<int64_t> all_ranks(int64_t count) {
    std::vector<int64_t> ranks(static_cast<size_t>(count));
    std::iota(ranks.begin(), ranks.end(), 0);
    return ranks;
  }

  GlooOptions options_;
  StoreGather gather_;
  c10::intrusive_ptr<ProcessGroupGloo> group_;
};

}  // namespace

std::unique_ptr<Communicator> gloo_communicator(c10::intrusive_ptr<c10d::Store> store, const GlooOptions& options) {
  return std::make_unique<GlooCommunicator>(std::move(store), options);
}

}  // namespace dualparal
