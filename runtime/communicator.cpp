// SPDX-License-Identifier: Apache-2.0
#include "runtime/communicator.h"

#include "runtime/errors.h"

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

std::unique_ptr<Communicator> lone_communicator() { return std::make_unique<LoneCommunicator>(); }

}  // namespace dualparal
