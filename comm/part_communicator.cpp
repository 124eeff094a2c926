// SPDX-License-Identifier: Apache-2.0
#include "comm/part_communicator.h"

#include <algorithm>

#include "base/errors.h"
#include "comm/store_gather.h"

namespace dualparal {
namespace {

class PartCommunicator final : public Communicator {
 public:
  PartCommunicator(Communicator& all, const std::vector<int64_t>& ranks, int64_t own,
                   c10::intrusive_ptr<c10d::Store> store, std::chrono::milliseconds timeout)
      : all_(all), ranks_(ranks), own_(own), gather_(std::move(store), ranks, static_cast<size_t>(own), timeout) {}

  int64_t rank() const override { return own_; }
  int64_t world_size() const override { return static_cast<int64_t>(ranks_.size()); }

  void connect(const std::vector<Link>& links) override {
    std::vector<Link> theirs;
    for (const Link& link : links) theirs.push_back({number(link.from), number(link.to), link.channel});
    all_.connect(theirs);
  }
  std::unique_ptr<Transfer> send(const at::Tensor& tensor, int64_t to, Channel channel) override {
    return all_.send(tensor, number(to), channel);
  }
  std::unique_ptr<Transfer> receive(const at::Tensor& target, int64_t from, Channel channel) override {
    return all_.receive(target, number(from), channel);
  }
  void broadcast(at::Tensor& tensor) override {
    if (own_ > 0) return receive(tensor, 0, Channel::kForward)->wait();
    std::vector<std::unique_ptr<Transfer>> sends;
    for (int64_t to = 1; to < world_size(); ++to) sends.push_back(send(tensor, to, Channel::kForward));
    for (const auto& one : sends) one->wait();
  }
  void barrier() override { gather(""); }
  std::vector<std::string> gather(const std::string& text) override { return gather_.gather(text); }
  std::vector<std::string> gather_patiently(const std::string& text) override { return gather_.gather_patiently(text); }

 private:
  int64_t number(int64_t rank) const {
    check(0 <= rank && rank < world_size(), "there is no rank {} among {} of {} ranks", rank, world_size(),
          all_.world_size());
    return ranks_[static_cast<size_t>(rank)];
  }

  Communicator& all_;
  std::vector<int64_t> ranks_;
  int64_t own_;
  StoreGather gather_;
};

}  // namespace

std::unique_ptr<Communicator> part_communicator(Communicator& all, std::vector<int64_t> ranks,
                                                c10::intrusive_ptr<c10d::Store> store,
                                                std::chrono::milliseconds timeout) {
  const auto own = std::ranges::find(ranks, all.rank()) - ranks.begin();
  check(own < static_cast<int64_t>(ranks.size()), "rank {} is none of the ranks {}", all.rank(),
        fmt::join(ranks, ", "));
  return std::make_unique<PartCommunicator>(all, ranks, own, std::move(store), timeout);
}

}  // namespace dualparal
