// SPDX-License-Identifier: Apache-2.0
#include "harness/simulator/engine.h"

#include <deque>
#include <map>
#include <simgrid/s4u.hpp>

#include "base/errors.h"

namespace dualparal {
namespace {

namespace s4u = simgrid::s4u;
using Kind = Event::Kind;

// Where a device's copies to and from its node's memory begin and end; null where they do not travel.
struct HostCopyPlaces {
  s4u::Host* device = nullptr;
  s4u::Host* memory = nullptr;
};

// Makes a rank's copies one after the other, as a stream of a device does, beside what the rank itself does.
class HostCopies {
 public:
  explicit HostCopies(const HostCopyPlaces& places) : places_(places) {}

  void begin(const SimulatedStep& step) {
    if (!places_.memory) return;
    begun_.push_back(step);
    ++waiting_for_;
    ready_->release();
  }
  void wait() {
    for (; waiting_for_ > 0; --waiting_for_) done_->acquire();
  }
  [[noreturn]] void make_all() {
    for (;;) {
      ready_->acquire();
      const SimulatedStep step = begun_.front();
      begun_.pop_front();
      const bool there = step.kind == Kind::kToHost;
      s4u::Comm::sendto(there ? places_.device : places_.memory, there ? places_.memory : places_.device,
                        static_cast<uint64_t>(step.bytes));
      done_->release();
    }
  }

 private:
  HostCopyPlaces places_;
  std::deque<SimulatedStep> begun_;
  int64_t waiting_for_ = 0;
  s4u::SemaphorePtr ready_ = s4u::Semaphore::create(0), done_ = s4u::Semaphore::create(0);
};

// One rank: does its steps in order and notes when.
class RankActor {
 public:
  RankActor(int64_t rank, const std::vector<SimulatedStep>& steps, s4u::Host* neighbour, HostCopies& copies,
            SimulatedRank& out)
      : rank_(rank), steps_(steps), neighbour_(neighbour), copies_(copies), out_(out) {}

  void operator()() {
    for (size_t i = 0; i < steps_.size(); ++i) {
      out_.times[i].begin_s = s4u::Engine::get_clock();
      run(steps_[i]);
      out_.times[i].end_s = s4u::Engine::get_clock();
      out_.finished = i + 1;
    }
    for (auto& [key, sends] : sends_)
      for (auto& send : sends) send->wait();
    copies_.wait();
    out_.done = true;  // SimGrid ends actors that wait for each other, and its run as if nothing had happened
  }

 private:
  static void work(double seconds) {
    if (seconds > 0) s4u::this_actor::execute(seconds);
  }

  void run(const SimulatedStep& step) {
    switch (step.kind) {
      case Kind::kCompute:
        work(step.seconds);
        break;
      case Kind::kSend: {
        work(step.seconds);
        auto* box = s4u::Mailbox::by_name(mailbox_name(rank_, step.peer, step.channel));
        static char payload;
        sends_[{step.peer, step.channel}].push_back(box->put_async(&payload, static_cast<uint64_t>(step.bytes)));
        break;
      }
      case Kind::kReceive:
        s4u::Mailbox::by_name(mailbox_name(step.peer, rank_, step.channel))->get<char>();
        work(step.seconds);
        break;
      case Kind::kWait: {
        auto& sends = sends_[{step.peer, step.channel}];
        if (sends.empty()) break;
        sends.front()->wait();
        sends.pop_front();
        break;
      }
      case Kind::kToHost:
      case Kind::kFromHost:
        work(step.seconds);
        copies_.begin(step);
        break;
      case Kind::kHostWait:
        copies_.wait();
        break;
      case Kind::kExchange:  // what leaves this rank's device comes, from others, in as many bytes at the same time
        work(step.seconds);
        s4u::Comm::sendto(s4u::this_actor::get_host(), neighbour_, static_cast<uint64_t>(step.bytes));
        work(step.seconds);
        break;
      case Kind::kOutput:
      case Kind::kVideo:
        break;
    }
  }

  int64_t rank_;
  const std::vector<SimulatedStep>& steps_;
  s4u::Host* neighbour_;  // the other end of exchanges
  HostCopies& copies_;
  SimulatedRank& out_;
  std::map<std::pair<int64_t, Channel>, std::deque<s4u::CommPtr>> sends_;
};

s4u::Link* add_link(s4u::NetZone* zone, const std::string& name, const LinkSpec& spec) {
  return zone->create_link(name, spec.bytes_per_s)->set_latency(spec.latency_s)->seal();
}

// The ways between a device and its node's memory: its own, or, where devices talk through the host, those of its
// messages. What all transfers of the node share is crossed once.
void add_host_routes(s4u::NetZone* zone, const Cluster& cluster, int64_t device, const HostCopyPlaces& places,
                     s4u::Link* up, s4u::Link* down, s4u::Link* shared) {
  if (cluster.to_host_link.bytes_per_s > 0) {
    up = add_link(zone, fmt::format("to_host{}", device), cluster.to_host_link);
    down = add_link(zone, fmt::format("from_host{}", device), cluster.to_host_link);
  }
  std::vector<s4u::LinkInRoute> there{s4u::LinkInRoute(up)}, back{s4u::LinkInRoute(down)};
  if (shared) {
    there.emplace_back(shared);
    back.insert(back.begin(), s4u::LinkInRoute(shared));
  }
  auto *device_point = places.device->get_netpoint(), *memory_point = places.memory->get_netpoint();
  zone->add_route(device_point, memory_point, nullptr, nullptr, there, false);
  zone->add_route(memory_point, device_point, nullptr, nullptr, back, false);
}

// A host of speed 1 for each device: computations are given in seconds; and one for each node's memory.
std::vector<HostCopyPlaces> build_platform(const Cluster& cluster) {
  auto* zone = s4u::create_full_zone("cluster");
  const auto add_link = [&](const std::string& name, const LinkSpec& spec) {
    return dualparal::add_link(zone, name, spec);
  };
  std::vector<s4u::Host*> hosts;
  std::vector<s4u::Link*> up, down, out, in, shared, to_network, from_network;
  for (int64_t device = 0; device < cluster.devices(); ++device) {
    hosts.push_back(zone->create_host(fmt::format("device{}", device), 1.0)->seal());
    // The latency of a transfer is counted once, on its way up.
    up.push_back(add_link(fmt::format("up{}", device), cluster.device_link));
    down.push_back(add_link(fmt::format("down{}", device), {cluster.device_link.bytes_per_s, 0}));
    if (cluster.adapter_link.bytes_per_s == 0) continue;
    to_network.push_back(add_link(fmt::format("to_network{}", device), cluster.adapter_link));
    from_network.push_back(add_link(fmt::format("from_network{}", device), {cluster.adapter_link.bytes_per_s, 0}));
  }
  for (int64_t node = 0; node < cluster.nodes; ++node) {
    if (cluster.host_link.bytes_per_s > 0) shared.push_back(add_link(fmt::format("host{}", node), cluster.host_link));
    if (cluster.node_link.bytes_per_s == 0) continue;
    out.push_back(add_link(fmt::format("out{}", node), cluster.node_link));
    in.push_back(add_link(fmt::format("in{}", node), {cluster.node_link.bytes_per_s, 0}));
  }
  for (int64_t a = 0; a < cluster.devices(); ++a)
    for (int64_t b = 0; b < cluster.devices(); ++b) {
      if (a == b) continue;
      const int64_t from = a / cluster.devices_per_node, to = b / cluster.devices_per_node;
      std::vector<s4u::LinkInRoute> route{s4u::LinkInRoute(up[a])};
      if (!shared.empty()) route.emplace_back(shared[from]);
      if (from != to) {
        if (!to_network.empty()) route.emplace_back(to_network[a]);
        if (!out.empty()) route.emplace_back(out[from]);
        if (!in.empty()) route.emplace_back(in[to]);
        if (!from_network.empty()) route.emplace_back(from_network[b]);
      }
      if (!shared.empty()) route.emplace_back(shared[to]);
      route.emplace_back(down[b]);
      zone->add_route(hosts[a]->get_netpoint(), hosts[b]->get_netpoint(), nullptr, nullptr, route, false);
    }
  std::vector<HostCopyPlaces> places;
  s4u::Host* memory = nullptr;
  const bool travels = cluster.to_host_link.bytes_per_s > 0 || cluster.host_link.bytes_per_s > 0;
  for (int64_t device = 0; device < cluster.devices(); ++device) {
    const int64_t node = device / cluster.devices_per_node;
    if (travels && device % cluster.devices_per_node == 0)
      memory = zone->create_host(fmt::format("memory{}", node), 1.0)->seal();
    places.push_back({hosts[device], memory});
    if (travels)
      add_host_routes(zone, cluster, device, places.back(), up[device], down[device],
                      shared.empty() ? nullptr : shared[node]);
  }
  zone->seal();
  return places;
}

}  // namespace

std::string mailbox_name(int64_t from, int64_t to, Channel channel) {
  return fmt::format("{}>{}/{}", from, to, static_cast<int>(channel));
}

std::vector<SimulatedRank> run_engine(const std::vector<std::vector<SimulatedStep>>& ranks, const Cluster& cluster,
                                      int64_t alike) {
  std::vector<std::string> words{"simulate",
                                 "--cfg=network/model:CM02",
                                 "--cfg=network/TCP-gamma:0",
                                 "--cfg=network/crosstraffic:0",
                                 "--cfg=network/loopback-bw:1e12",
                                 "--cfg=network/loopback-lat:0",
                                 "--log=root.thres:critical"};
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  int argc = static_cast<int>(argv.size());
  argv.push_back(nullptr);
  s4u::Engine engine(&argc, argv.data());
  const auto places = build_platform(cluster);
  std::vector<SimulatedRank> out(ranks.size());
  for (size_t rank = 0; rank < ranks.size(); ++rank) out[rank].times.resize(ranks[rank].size());
  std::vector<s4u::ActorPtr> actors;
  std::deque<HostCopies> copies;
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    const auto device = static_cast<size_t>(device_of(static_cast<int64_t>(rank), alike, cluster));
    const HostCopyPlaces& own = places[device];
    HostCopies& made = copies.emplace_back(own);
    s4u::Actor::create(fmt::format("copies{}", rank), own.device, [&made] { made.make_all(); })->daemonize();
    s4u::Host* const neighbour = places[(device + 1) % places.size()].device;
    actors.push_back(
        s4u::Actor::create(fmt::format("rank{}", rank), own.device,
                           RankActor(static_cast<int64_t>(rank), ranks[rank], neighbour, made, out[rank])));
  }
  // Receives are posted ahead: bytes travel as soon as they are sent.
  for (size_t rank = 0; rank < ranks.size(); ++rank)
    for (const SimulatedStep& step : ranks[rank])
      if (step.kind == Kind::kReceive)
        s4u::Mailbox::by_name(mailbox_name(step.peer, static_cast<int64_t>(rank), step.channel))
            ->set_receiver(actors[rank]);
  engine.run();
  return out;
}

}  // namespace dualparal
