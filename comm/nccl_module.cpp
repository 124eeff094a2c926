// SPDX-License-Identifier: Apache-2.0
// The NCCL module: a shared library beside the program, the only part that links LibTorch's CUDA backend.
//
// Every link (one way between two ranks, on one channel) is a process group of two with a NCCL communicator and a
// stream of its own. NCCL runs what a communicator is given one after the other, and each message until its peer takes
// part: were two links to share one, a receive posted ahead would hold up the send behind it, and two ranks could wait
// for each other for ever.
#include "comm/nccl_module.h"

#include <ATen/cuda/CUDAContext.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include <algorithm>
#include <future>
#include <map>
#include <thread>

#include "base/errors.h"
#include "comm/nccl_links.h"
#include "comm/with_peer.h"

namespace dualparal {
namespace {

using namespace std::chrono_literals;
using c10d::ProcessGroupNCCL;
using Clock = std::chrono::steady_clock;
using WorkHandle = c10::intrusive_ptr<c10d::Work>;

class NcclTransfer final : public Transfer {
 public:
  NcclTransfer(WorkHandle work, at::Tensor tensor, at::Tensor target, int64_t peer, bool sending,
               std::chrono::milliseconds timeout)
      : work_(std::move(work)),
        tensor_(std::move(tensor)),
        target_(std::move(target)),
        peer_(peer),
        sending_(sending),
        timeout_(timeout) {}

  // The compute stream waits for the message. So does the host: the recorder tells waiting from computing by it, and a
  // peer that has gone can be seen from the host alone, since NCCL's kernel goes on waiting.
  void wait() override {
    if (!work_) return;
    with_peer(peer_, sending_ ? "sending to" : "receiving from", [&] {
      const auto begin = Clock::now();
      while (!work_->isCompleted()) {
        const auto waited = Clock::now() - begin;
        check(waited < timeout_, "no answer within {} s (--timeout)", timeout_.count() / 1000);
        if (waited > 100us) std::this_thread::sleep_for(20us);
      }
      if (work_->exception()) std::rethrow_exception(work_->exception());
      work_->wait();
    });
    if (target_.defined()) target_.copy_(tensor_);
    work_.reset();
    tensor_.reset();
  }

 private:
  WorkHandle work_;
  at::Tensor tensor_;  // what NCCL reads or writes
  at::Tensor target_;  // undefined if that is it already
  int64_t peer_;
  bool sending_;
  std::chrono::milliseconds timeout_;
};

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(c10::intrusive_ptr<c10d::Store> store, const NcclOptions& options,
                   std::unique_ptr<Communicator> control, const at::Device& device)
      : store_(std::move(store)), options_(options), control_(std::move(control)), device_(device) {}
  ~NcclCommunicator() override {
    for (auto& [link, group] : links_) group->shutdown();
  }

  int64_t rank() const override { return options_.rank; }
  int64_t world_size() const override { return options_.world_size; }

  void connect(const std::vector<Link>& links) override {
    check_links_fit(links, rank(), at::cuda::getDeviceProperties(device_.index())->multiProcessorCount);
    for (const Link& link : links)
      if ((link.from == rank() || link.to == rank()) && !links_.contains(link)) open(link);
  }

  std::unique_ptr<Transfer> send(const at::Tensor& tensor, int64_t to, Channel channel) override {
    const at::Tensor message = tensor.contiguous();
    std::vector<at::Tensor> tensors{message};
    WorkHandle work;
    with_peer(to, "sending to", [&] { work = group({rank(), to, channel}).send(tensors, kReceiver, 0); });
    return transfer(std::move(work), message, at::Tensor(), to, true);
  }

  std::unique_ptr<Transfer> receive(const at::Tensor& target, int64_t from, Channel channel) override {
    const at::Tensor message = target.is_contiguous() ? target : at::empty(target.sizes(), target.options());
    std::vector<at::Tensor> tensors{message};
    WorkHandle work;
    with_peer(from, "receiving from", [&] { work = group({from, rank(), channel}).recv(tensors, kSender, 0); });
    return transfer(std::move(work), message, target.is_contiguous() ? at::Tensor() : target, from, false);
  }

  void broadcast(at::Tensor& tensor) override { control_->broadcast(tensor); }
  void barrier() override { control_->barrier(); }
  std::vector<std::string> gather(const std::string& text) override { return control_->gather(text); }
  std::vector<std::string> gather_patiently(const std::string& text) override {
    return control_->gather_patiently(text);
  }
  std::vector<std::string> gather_on_first(const std::string& text) override { return control_->gather_on_first(text); }

 private:
  static constexpr int kSender = 0, kReceiver = 1;  // places in a link's group

  std::unique_ptr<Transfer> transfer(WorkHandle work, const at::Tensor& message, const at::Tensor& target, int64_t peer,
                                     bool sending) const {
    return std::make_unique<NcclTransfer>(std::move(work), message, target, peer, sending, options_.timeout);
  }

  ProcessGroupNCCL& group(const Link& link) {
    const auto found = links_.find(link);
    check(found != links_.end(), "rank {} has no link to rank {} that it announced in connect()", link.from, link.to);
    return *found->second;
  }

  // The first message opens NCCL's connection, and loads its kernels before anything waits for them.
  void open(const Link& link) {
    const bool sending = link.from == rank();
    const int64_t peer = sending ? link.to : link.from;
    const auto group_options = ProcessGroupNCCL::Options::create(/*is_high_priority_stream=*/true);
    group_options->timeout = 24h;  // ours is kept in wait()
    group_options->config.maxCTAs = static_cast<int>(link_thread_blocks());
    const auto name = fmt::format("nccl/{}-{}-{}", link.from, link.to, static_cast<int>(link.channel));
    const auto group = c10::make_intrusive<ProcessGroupNCCL>(c10::make_intrusive<c10d::PrefixStore>(name, store_),
                                                             sending ? kSender : kReceiver, 2, group_options);
    const at::Tensor message = at::zeros({1}, at::TensorOptions().device(device_).dtype(at::kFloat));
    // NCCL sets no limit to this: a thread that may be left behind does it.
    auto opened = std::make_shared<std::promise<WorkHandle>>();
    auto future = opened->get_future();
    std::thread([=] {
      try {
        std::vector<at::Tensor> tensors{message};
        opened->set_value(sending ? group->send(tensors, kReceiver, 0) : group->recv(tensors, kSender, 0));
      } catch (...) {
        opened->set_exception(std::current_exception());
      }
    }).detach();
    with_peer(peer, "connecting with", [&] {
      check(future.wait_for(options_.timeout) == std::future_status::ready, "no answer within {} s (--timeout)",
            options_.timeout.count() / 1000);
      transfer(future.get(), message, at::Tensor(), peer, sending)->wait();
    });
    links_.emplace(link, group);
  }

  c10::intrusive_ptr<c10d::Store> store_;
  NcclOptions options_;
  std::unique_ptr<Communicator> control_;
  at::Device device_;
  std::map<Link, c10::intrusive_ptr<ProcessGroupNCCL>> links_;
};

std::string gpu(const at::Device& device) {
  const cudaDeviceProp* properties = at::cuda::getDeviceProperties(device.index());
  return fmt::format("{:04x}:{:02x}:{:02x}", properties->pciDomainID, properties->pciBusID, properties->pciDeviceID);
}

std::unique_ptr<Communicator> make(c10::intrusive_ptr<c10d::Store> store, const NcclOptions& options,
                                   std::unique_ptr<Communicator> control, const at::Device& device) {
  return std::make_unique<NcclCommunicator>(std::move(store), options, std::move(control), device);
}

}  // namespace
}  // namespace dualparal

extern "C" __attribute__((visibility("default"))) const dualparal::NcclModule* dualparal_nccl_module() {
  static const dualparal::NcclModule module{DUALPARAL_VERSION, dualparal::gpu, dualparal::make};
  return &module;
}
