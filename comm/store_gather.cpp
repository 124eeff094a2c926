// SPDX-License-Identifier: Apache-2.0
#include "comm/store_gather.h"

#include "comm/with_peer.h"

namespace dualparal {

std::vector<std::string> StoreGather::gather(const std::string& text) {
  const auto key = [&](int64_t round, int64_t rank) { return fmt::format("gather/{}/{}", round, rank); };
  store_->set(key(rounds_, ranks_[own_]), std::vector<uint8_t>(text.begin(), text.end()));
  std::vector<std::string> texts;
  for (const int64_t other : ranks_)
    with_peer(other, "waiting for", [&] {
      store_->wait({key(rounds_, other)}, timeout_);
      const auto bytes = store_->get(key(rounds_, other));
      texts.emplace_back(bytes.begin(), bytes.end());
    });
  // Everyone has read round n - 1 once everyone has written round n.
  if (rounds_ > 0) store_->deleteKey(key(rounds_ - 1, ranks_[own_]));
  ++rounds_;
  return texts;
}

}  // namespace dualparal
