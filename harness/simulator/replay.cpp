// SPDX-License-Identifier: Apache-2.0
#include "harness/simulator/replay.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <deque>
#include <map>
#include <simgrid/s4u.hpp>

#include "base/errors.h"

namespace dualparal {
namespace {

namespace s4u = simgrid::s4u;
using Kind = Event::Kind;

struct Times {
  double begin_s = 0, end_s = 0;
};

// What decides when something happens on a rank.
struct Step {
  Kind kind = Kind::kCompute;
  double seconds = 0;  // that it keeps the device busy
  int64_t peer = 0;
  Channel channel = Channel::kForward;
  double bytes = 0;
};

std::string mailbox_name(int64_t from, int64_t to, Channel channel) {
  return fmt::format("{}>{}/{}", from, to, static_cast<int>(channel));
}

// One rank: does its steps in order and notes when.
class RankActor {
 public:
  RankActor(int64_t rank, const std::vector<Step>& steps, std::vector<Times>& times)
      : rank_(rank), steps_(steps), times_(times) {}

  void operator()() {
    for (size_t i = 0; i < steps_.size(); ++i) {
      times_[i].begin_s = s4u::Engine::get_clock();
      run(steps_[i]);
      times_[i].end_s = s4u::Engine::get_clock();
    }
    for (auto& [key, sends] : sends_)
      for (auto& send : sends) send->wait();
  }

 private:
  static void work(double seconds) {
    if (seconds > 0) s4u::this_actor::execute(seconds);
  }

  void run(const Step& step) {
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
      case Kind::kOutput:
        break;
    }
  }

  int64_t rank_;
  const std::vector<Step>& steps_;
  std::vector<Times>& times_;
  std::map<std::pair<int64_t, Channel>, std::deque<s4u::CommPtr>> sends_;
};

// A host of speed 1 for each device: computations are given in seconds.
std::vector<s4u::Host*> build_platform(const Cluster& cluster) {
  auto* zone = s4u::create_full_zone("cluster");
  const auto add_link = [&](const std::string& name, const LinkSpec& spec) {
    return zone->create_link(name, spec.bytes_per_s)->set_latency(spec.latency_s)->seal();
  };
  std::vector<s4u::Host*> hosts;
  std::vector<s4u::Link*> up, down, out, in, shared;
  for (int64_t device = 0; device < cluster.devices(); ++device) {
    hosts.push_back(zone->create_host(fmt::format("device{}", device), 1.0)->seal());
    // The latency of a transfer is counted once, on its way up.
    up.push_back(add_link(fmt::format("up{}", device), cluster.device_link));
    down.push_back(add_link(fmt::format("down{}", device), {cluster.device_link.bytes_per_s, 0}));
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
        route.emplace_back(out[from]);
        route.emplace_back(in[to]);
      }
      if (!shared.empty()) route.emplace_back(shared[to]);
      route.emplace_back(down[b]);
      zone->add_route(hosts[a]->get_netpoint(), hosts[b]->get_netpoint(), nullptr, nullptr, route, false);
    }
  zone->seal();
  return hosts;
}

// In a process of its own: a SimGrid engine lives once per process.
std::vector<std::vector<Times>> simulate(const std::vector<std::vector<Step>>& ranks, const Cluster& cluster) {
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
  const auto hosts = build_platform(cluster);
  std::vector<std::vector<Times>> times;
  for (const auto& steps : ranks) times.emplace_back(steps.size());
  std::vector<s4u::ActorPtr> actors;
  for (size_t rank = 0; rank < ranks.size(); ++rank)
    actors.push_back(s4u::Actor::create(fmt::format("rank{}", rank), hosts[rank % hosts.size()],
                                        RankActor(static_cast<int64_t>(rank), ranks[rank], times[rank])));
  // Receives are posted ahead: bytes travel as soon as they are sent.
  for (size_t rank = 0; rank < ranks.size(); ++rank)
    for (const Step& step : ranks[rank])
      if (step.kind == Kind::kReceive)
        s4u::Mailbox::by_name(mailbox_name(step.peer, static_cast<int64_t>(rank), step.channel))
            ->set_receiver(actors[rank]);
  engine.run();
  return times;
}

void write_all(int file, const void* data, size_t size) {
  for (size_t done = 0; done < size;) {
    const ssize_t count = write(file, static_cast<const char*>(data) + done, size - done);
    if (count <= 0) _exit(1);
    done += static_cast<size_t>(count);
  }
}

bool read_all(int file, void* data, size_t size) {
  for (size_t done = 0; done < size;) {
    const ssize_t count = read(file, static_cast<char*>(data) + done, size - done);
    if (count <= 0) return false;
    done += static_cast<size_t>(count);
  }
  return true;
}

// Every message that is waited for must be sent, or the ranks would wait for ever.
void check_messages(const std::vector<std::vector<Step>>& ranks) {
  std::map<std::string, int64_t> balance;
  const auto count = static_cast<int64_t>(ranks.size());
  for (int64_t rank = 0; rank < count; ++rank)
    for (const Step& step : ranks[rank]) {
      if (step.kind != Kind::kSend && step.kind != Kind::kReceive) continue;
      check(0 <= step.peer && step.peer < count && step.peer != rank,
            "the trace of rank {} has a message with rank {}; there are {} ranks", rank, step.peer, count);
      const bool sends = step.kind == Kind::kSend;
      balance[sends ? mailbox_name(rank, step.peer, step.channel) : mailbox_name(step.peer, rank, step.channel)] +=
          sends ? 1 : -1;
    }
  for (const auto& [name, left] : balance)
    check(left == 0, "the traces do not belong together: messages {} (sender>receiver/channel): {} more are {} than {}",
          name, std::abs(left), left > 0 ? "sent" : "received", left > 0 ? "received" : "sent");
}

}  // namespace

std::vector<RankTrace> replay(const std::vector<RankTrace>& traces, const Cluster& cluster,
                              const ComputeSeconds& compute_seconds) {
  std::vector<std::vector<Step>> ranks;
  for (const RankTrace& trace : traces) {
    auto& steps = ranks.emplace_back();
    for (const Event& event : trace.events) {
      const auto bytes = static_cast<double>(event.bytes);
      const bool moves = event.kind == Kind::kSend || event.kind == Kind::kReceive;
      const double busy = event.kind == Kind::kCompute ? compute_seconds(event)
                          : moves                      ? cluster.message_s + bytes * cluster.message_byte_s
                                                       : 0;
      steps.push_back({event.kind, busy, event.peer, event.channel, bytes});
    }
  }
  check_messages(ranks);

  int ends[2];
  check(pipe(ends) == 0, "simulation: {}", std::strerror(errno));
  const pid_t child = fork();
  check(child >= 0, "simulation: {}", std::strerror(errno));
  if (child == 0) {
    close(ends[0]);
    for (const auto& times : simulate(ranks, cluster)) write_all(ends[1], times.data(), times.size() * sizeof(Times));
    _exit(0);
  }
  close(ends[1]);
  std::vector<RankTrace> out = traces;
  bool whole = true;
  for (RankTrace& trace : out) {
    std::vector<Times> times(trace.events.size());
    whole = whole && read_all(ends[0], times.data(), times.size() * sizeof(Times));
    trace.begin_s = 0;
    trace.end_s = times.empty() ? 0 : times.back().end_s;
    trace.timed = true;
    for (size_t i = 0; i < times.size(); ++i) {
      trace.events[i].begin_s = times[i].begin_s;
      trace.events[i].end_s = times[i].end_s;
    }
  }
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  check(whole && WIFEXITED(status) && WEXITSTATUS(status) == 0,
        "the simulation ended early: the ranks' messages wait for each other, or SimGrid failed");
  return out;
}

}  // namespace dualparal
