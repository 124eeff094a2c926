// SPDX-License-Identifier: Apache-2.0
#include "harness/simulator/uncontended.h"

#include <algorithm>
#include <deque>
#include <limits>
#include <optional>
#include <unordered_map>

namespace dualparal {
namespace {

using Kind = Event::Kind;

// The links that engine.cpp puts between two devices, as one.
LinkSpec way(const Cluster& cluster, int64_t from, int64_t to) {
  LinkSpec out{std::numeric_limits<double>::infinity(), 0};
  const auto cross = [&](const LinkSpec& link, double latency_s, double times = 1) {
    if (link.bytes_per_s == 0) return;
    out.bytes_per_s = std::min(out.bytes_per_s, link.bytes_per_s / times);
    out.latency_s += latency_s;
  };
  const bool one_node = from / cluster.devices_per_node == to / cluster.devices_per_node;
  cross(cluster.device_link, cluster.device_link.latency_s);
  cross(cluster.host_link, 2 * cluster.host_link.latency_s, one_node ? 2 : 1);
  if (one_node) return out;
  cross(cluster.adapter_link, cluster.adapter_link.latency_s);
  cross(cluster.node_link, cluster.node_link.latency_s);
  return out;
}

// Messages from a rank to another on a channel.
struct Mailbox {
  std::deque<double> arrivals;     // of those that were not received yet
  std::optional<size_t> receiver;  // a rank that waits for the next
  std::deque<double> sent;         // when those that were not waited for are there
};

class Uncontended {
 public:
  Uncontended(const std::vector<std::vector<SimulatedStep>>& ranks, const Cluster& cluster, int64_t alike)
      : ranks_(ranks), cluster_(cluster), alike_(alike), out_(ranks.size()), now_(ranks.size()) {}

  std::vector<SimulatedRank> run() {
    for (size_t rank = 0; rank < ranks_.size(); ++rank) {
      out_[rank].times.resize(ranks_[rank].size());
      ready_.push_back(rank);
    }
    while (!ready_.empty()) {
      const size_t rank = ready_.front();
      ready_.pop_front();
      go_on(rank);
    }
    return std::move(out_);
  }

 private:
  int64_t device(int64_t rank) const { return device_of(rank, alike_, cluster_); }

  Mailbox& mailbox(size_t from, size_t to, Channel channel) {
    const auto count = static_cast<uint64_t>(ranks_.size());
    return mailboxes_[(static_cast<uint64_t>(channel) * count + from) * count + to];
  }

  // Until it is done or waits for a message that was not sent yet.
  void go_on(size_t rank) {
    SimulatedRank& own = out_[rank];
    for (const auto& steps = ranks_[rank]; own.finished < steps.size(); ++own.finished) {
      own.times[own.finished].begin_s = now_[rank];
      if (!step(rank, steps[own.finished])) return;
      own.times[own.finished].end_s = now_[rank];
    }
    own.done = true;
  }

  bool step(size_t rank, const SimulatedStep& step) {
    double& now = now_[rank];
    const auto peer = static_cast<size_t>(step.peer);
    if (step.kind == Kind::kCompute) now += step.seconds;
    if (step.kind == Kind::kSend) {
      now += step.seconds;
      Mailbox& box = mailbox(rank, peer, step.channel);
      const LinkSpec link = way(cluster_, device(static_cast<int64_t>(rank)), device(step.peer));
      box.arrivals.push_back(now + link.latency_s + step.bytes / link.bytes_per_s);
      box.sent.push_back(box.arrivals.back());
      if (box.receiver) ready_.push_back(*box.receiver);
      box.receiver.reset();
    }
    if (step.kind == Kind::kExchange) {
      const int64_t own = device(static_cast<int64_t>(rank));
      const LinkSpec link = way(cluster_, own, (own + 1) % cluster_.devices());
      now += 2 * step.seconds + link.latency_s + step.bytes / link.bytes_per_s;
    }
    if (step.kind == Kind::kReceive) {
      Mailbox& box = mailbox(peer, rank, step.channel);
      if (box.arrivals.empty()) {
        box.receiver = rank;
        return false;
      }
      now = std::max(now, box.arrivals.front()) + step.seconds;
      box.arrivals.pop_front();
    }
    if (step.kind == Kind::kWait) {
      Mailbox& box = mailbox(rank, peer, step.channel);
      if (box.sent.empty()) return true;
      now = std::max(now, box.sent.front());
      box.sent.pop_front();
    }
    return true;
  }

  const std::vector<std::vector<SimulatedStep>>& ranks_;
  const Cluster& cluster_;
  int64_t alike_;
  std::vector<SimulatedRank> out_;
  std::vector<double> now_;
  std::deque<size_t> ready_;
  std::unordered_map<uint64_t, Mailbox> mailboxes_;
};

}  // namespace

std::vector<SimulatedRank> run_uncontended(const std::vector<std::vector<SimulatedStep>>& ranks, const Cluster& cluster,
                                           int64_t alike) {
  return Uncontended(ranks, cluster, alike).run();
}

}  // namespace dualparal
