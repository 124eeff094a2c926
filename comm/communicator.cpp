// SPDX-License-Identifier: Apache-2.0
#include "comm/communicator.h"

#include "base/errors.h"

namespace dualparal {
namespace {

class LoneCommunicator final : public Communicator {
 public:
  int64_t rank() const override { return 0; }
  int64_t world_size() const override { return 1; }
  std::unique_ptr<Transfer> send(const at::Tensor&, int64_t to, Channel) override {
    fail("nothing can be sent to rank {}: there is one rank", to);
  }
  std::unique_ptr<Transfer> receive(const at::Tensor&, int64_t from, Channel) override {
    fail("nothing can be received from rank {}: there is one rank", from);
  }
  void broadcast(at::Tensor&) override {}
  void barrier() override {}
  std::vector<std::string> gather(const std::string& text) override { return {text}; }
};

}  // namespace

std::vector<Link> pipeline_links(int64_t world_size) {
  std::vector<Link> links;
  for (int64_t rank = 0; rank + 1 < world_size; ++rank) links.push_back({rank, rank + 1, Channel::kForward});
  if (world_size > 1) links.push_back({world_size - 1, 0, Channel::kReturn});
  return links;
}

std::vector<Link> neighbour_links(int64_t world_size) {
  std::vector<Link> links;
  for (int64_t rank = 0; rank + 1 < world_size; ++rank) {
    links.push_back({rank, rank + 1, Channel::kForward});
    links.push_back({rank + 1, rank, Channel::kForward});
  }
  return links;
}

std::vector<Link> all_links(int64_t world_size) {
  std::vector<Link> links;
  for (int64_t from = 0; from < world_size; ++from)
    for (int64_t to = 0; to < world_size; ++to)
      if (from != to) links.push_back({from, to, Channel::kForward});
  return links;
}

std::unique_ptr<Communicator> lone_communicator() { return std::make_unique<LoneCommunicator>(); }

}  // namespace dualparal
