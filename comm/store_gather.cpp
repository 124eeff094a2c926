// SPDX-License-Identifier: Apache-2.0
#include "comm/store_gather.h"

#include <thread>

#include "comm/with_peer.h"

namespace dualparal {

std::vector<std::string> StoreGather::gather(const std::string& text) {
  return gather(text, [&](const std::string& key) { store_->wait({key}, timeout_); });
}

std::vector<std::string> StoreGather::gather_patiently(const std::string& text) {
  return gather(text, [&](const std::string& key) {
    while (!store_->check({key})) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  });
}

template <class Wait>
std::vector<std::string> StoreGather::gather(const std::string& text, Wait wait_for) {
  const auto key = [&](int64_t round, int64_t rank) { return fmt::format("gather/{}/{}", round, rank); };
  store_->set(key(rounds_, ranks_[own_]), std::vector<uint8_t>(text.begin(), text.end()));
  std::vector<std::string> texts;
  for (const int64_t other : ranks_)
    with_peer(other, "waiting for", [&] {
      wait_for(key(rounds_, other));
      const auto bytes = store_->get(key(rounds_, other));
      texts.emplace_back(bytes.begin(), bytes.end());
    });
  // Everyone has read round n - 1 once everyone has written round n.
  if (rounds_ > 0) store_->deleteKey(key(rounds_ - 1, ranks_[own_]));
  ++rounds_;
  return texts;
}

}  // namespace dualparal
