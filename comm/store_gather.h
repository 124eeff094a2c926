// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <vector>

namespace dualparal {

/// Texts that some ranks give each other by way of a store.
class StoreGather {
 public:
  /// ranks: their numbers, as errors name them; own: this one's place among them. The store's keys are theirs alone.
  StoreGather(c10::intrusive_ptr<c10d::Store> store, std::vector<int64_t> ranks, size_t own,
              std::chrono::milliseconds timeout)
      : store_(std::move(store)), ranks_(std::move(ranks)), own_(own), timeout_(timeout) {}

  /// All of their texts, in the order of the ranks. PeerError that names a rank that does not come in time.
  std::vector<std::string> gather(const std::string& text);
  /// The same of ranks that may rightly be busy for long: however long they take. Those that do not live any more,
  /// their FaultMonitor notices.
  std::vector<std::string> gather_patiently(const std::string& text);

 private:
  template <class Wait>
  std::vector<std::string> gather(const std::string& text, Wait wait_for);

  c10::intrusive_ptr<c10d::Store> store_;
  std::vector<int64_t> ranks_;
  size_t own_;
  std::chrono::milliseconds timeout_;
  int64_t rounds_ = 0;
};

}  // namespace dualparal
