// SPDX-License-Identifier: Apache-2.0
#include "harness/simulator/replay.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <map>

#include "base/errors.h"
#include "base/write_all.h"
#include "harness/simulator/engine.h"
#include "harness/simulator/uncontended.h"
#include "harness/trace/repeated_section.h"

namespace dualparal {
namespace {

using Kind = Event::Kind;

// Thirty years: no trace holds such an event, but a wrong rate or a wrong number of a cluster makes some.
constexpr double kLongestEvent = 1e9;
constexpr size_t kRanksNamed = 8;  // in an error
// Relative. SimGrid itself counts time in steps of 1e-9 s and shares bandwidth to 1e-5 of it.
constexpr double kSamePeriod = 1e-6;

bool read_all(int file, void* data, size_t size) {
  for (size_t done = 0; done < size;) {
    const ssize_t count = read(file, static_cast<char*>(data) + done, size - done);
    if (count <= 0) return false;
    done += static_cast<size_t>(count);
  }
  return true;
}

// Every message that is waited for must be sent, or the ranks would wait for ever.
void check_messages(const std::vector<std::vector<SimulatedStep>>& ranks) {
  std::map<std::string, int64_t> balance;
  const auto count = static_cast<int64_t>(ranks.size());
  for (int64_t rank = 0; rank < count; ++rank)
    for (const SimulatedStep& step : ranks[rank]) {
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

// All messages are sent one after the other, then those of the others are received: what has not travelled in the
// meantime, at least one message, is waited for between.
SimulatedStep exchange_step(const Event& event, const Cluster& cluster) {
  const auto others = static_cast<double>(event.peer), bytes = static_cast<double>(event.bytes);
  const double each = cluster.message_busy_s(bytes / others);
  const double travelled = (others - 1) * each * cluster.device_link.bytes_per_s;
  return {.kind = Kind::kExchange, .seconds = others * each, .bytes = std::max(bytes / others, bytes - travelled)};
}

// How many ranks each of them stands for, which is the same for all. Error where these would share links.
int64_t alike_in(const std::vector<RankTrace>& traces, const Cluster& cluster) {
  const int64_t alike = traces.empty() ? 1 : traces.front().ranks;
  for (const RankTrace& trace : traces)
    check(trace.ranks == alike, "the traces do not belong together: one is of {} ranks, another of {}", alike,
          trace.ranks);
  check(alike == 1 || (cluster.host_link.bytes_per_s == 0 && cluster.node_link.bytes_per_s == 0),
        "{}: devices of a node share a link (links.host or links.node): ranks of a stage cannot be replayed as one; "
        "trace without --stages-as-one",
        cluster.name);
  check(alike == 1 || cluster.devices_per_node % alike == 0,
        "{}: {} ranks of a stage are replayed as one where a node's devices hold whole stages; it has {}", cluster.name,
        alike, cluster.devices_per_node);
  return alike;
}

std::vector<std::vector<SimulatedStep>> steps_of(const std::vector<RankTrace>& traces, const Cluster& cluster,
                                                 const ComputeSeconds& compute_seconds) {
  std::vector<std::vector<SimulatedStep>> ranks;
  for (size_t rank = 0; rank < traces.size(); ++rank) {
    auto& steps = ranks.emplace_back();
    for (const Event& event : traces[rank].events) {
      const auto bytes = static_cast<double>(event.bytes);
      const bool moves = event.kind == Kind::kSend || event.kind == Kind::kReceive;
      const bool copies = event.kind == Kind::kToHost || event.kind == Kind::kFromHost;
      const bool exchanges = event.kind == Kind::kExchange;
      check(!exchanges || event.peer > 0, "rank {}, {}: an exchange with {} others, expected at least one", rank,
            event.text(), event.peer);
      const SimulatedStep exchange = exchanges ? exchange_step(event, cluster) : SimulatedStep{};
      const double busy = event.kind == Kind::kCompute ? compute_seconds(event)
                          : moves                      ? cluster.message_busy_s(bytes)
                          : copies                     ? cluster.host_copy_busy_s(bytes)
                                                       : exchange.seconds;
      const bool possible = busy >= 0 && busy <= kLongestEvent && bytes >= 0;
      if (!possible)  // the text of each event would take longer than all else here
        fail("cluster {}: rank {}, {}: {} bytes would take {} s, expected 0 to {} s: are the cluster's rates right?",
             cluster.name, rank, event.text(), event.bytes, busy, kLongestEvent);
      steps.push_back(exchanges ? exchange : SimulatedStep{event.kind, busy, event.peer, event.channel, bytes});
    }
  }
  return ranks;
}

// What SimGrid prints, in a file of the memory: its words are for this program's error, not beside it.
struct Printed {
  Printed() : file(memfd_create("simgrid", MFD_CLOEXEC)) {}
  ~Printed() {
    if (file >= 0) close(file);
  }
  std::string first_line() const {
    char text[512] = "";
    const ssize_t count = file < 0 ? 0 : pread(file, text, sizeof text - 1, 0);
    return dualparal::first_line(std::string(text, static_cast<size_t>(std::max<ssize_t>(count, 0))));
  }
  int file;
};

// In a process of its own: a SimGrid engine lives once per process.
std::vector<SimulatedRank> simulate(const std::vector<std::vector<SimulatedStep>>& ranks, const Cluster& cluster,
                                    int64_t alike) {
  int ends[2];
  const int no_pipe = pipe2(ends, O_CLOEXEC) == 0 ? 0 : errno;
  check(no_pipe == 0, "simulation: {}", std::strerror(no_pipe));
  const Printed printed;
  std::fflush(nullptr);  // or what is buffered would be the child's, too
  const pid_t child = fork();
  const int not_forked = errno;
  if (child == 0) {
    close(ends[0]);
    if (printed.file >= 0) dup2(printed.file, STDERR_FILENO);
    for (const SimulatedRank& rank : run_engine(ranks, cluster, alike)) {
      const uint64_t state[2] = {rank.finished, rank.done};
      if (write_all(ends[1], state, sizeof state) != 0 ||
          write_all(ends[1], rank.times.data(), rank.times.size() * sizeof(StepTimes)) != 0)
        _exit(1);
    }
    _exit(0);
  }
  close(ends[1]);
  std::vector<SimulatedRank> out(ranks.size());
  bool whole = child > 0;
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    uint64_t state[2] = {};
    out[rank].times.resize(ranks[rank].size());
    whole = whole && read_all(ends[0], state, sizeof state) &&
            read_all(ends[0], out[rank].times.data(), out[rank].times.size() * sizeof(StepTimes));
    out[rank].finished = state[0];
    out[rank].done = state[1] != 0;
  }
  close(ends[0]);
  check(child > 0, "simulation: {}", std::strerror(not_forked));
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  check(whole && WIFEXITED(status) && WEXITSTATUS(status) == 0, "the simulation ended early: SimGrid failed: {}",
        printed.first_line());
  return out;
}

// Every rank must have come to its end: messages in an order in which ranks wait for each other give no times.
void check_finished(const std::vector<RankTrace>& traces, const std::vector<SimulatedRank>& ranks) {
  std::vector<std::string> waiting;
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    if (ranks[rank].done) continue;
    const auto& events = traces[rank].events;
    const size_t at = ranks[rank].finished;
    waiting.push_back(fmt::format(
        "rank {} at event {} of {}, {}", rank, std::min(at + 1, events.size()), events.size(),
        at < events.size() ? events[at].text() : std::string("all done but for what it sent, which nobody takes")));
  }
  if (waiting.empty()) return;
  const size_t more = waiting.size() - std::min(waiting.size(), kRanksNamed);
  waiting.resize(waiting.size() - more);
  fail("the traces cannot be replayed: the ranks wait for each other: {}{}", fmt::join(waiting, "; "),
       more > 0 ? fmt::format("; and {} more", more) : "");
}

// How often the traces' sections happen, which is the same on all ranks; 1: there are none.
int64_t times_repeated(const std::vector<RankTrace>& traces) {
  int64_t times = 1;
  for (size_t rank = 0; rank < traces.size(); ++rank) {
    if (!traces[rank].repeat) continue;
    const int64_t own = traces[rank].repeat->times;
    check(times == 1 || own == times,
          "the traces do not belong together: rank {} repeats a section {} times, others {}", rank, own, times);
    times = own;
  }
  return times;
}

// The time from one repeated section to the next: from the ones on both sides of that which stands for many. False if
// these do not agree, or the ranks do not: they have not come into step.
bool set_period(std::vector<RankTrace>& traces) {
  double period = -1;
  for (RankTrace& trace : traces) {
    if (!trace.repeat) continue;
    const size_t begin = trace.repeat->begin, end = trace.repeat->end;
    const auto at = [&](size_t place) { return trace.events[place].begin_s; };
    const double own = at(end) - at(begin), earlier = at(begin) - at(begin - (end - begin));
    if (period < 0) period = own;
    const auto near = [&](double other) { return std::abs(other - period) <= kSamePeriod * period; };
    if (!near(own) || !near(earlier)) return false;
    trace.repeat->period_s = period;
  }
  return true;
}

using Engine = std::vector<SimulatedRank> (*)(const std::vector<std::vector<SimulatedStep>>& ranks,
                                              const Cluster& cluster, int64_t alike);

std::vector<RankTrace> replay_written_out(std::vector<RankTrace> out, const Cluster& cluster,
                                          const ComputeSeconds& compute_seconds, Engine engine) {
  const auto steps = steps_of(out, cluster, compute_seconds);
  check_messages(steps);
  const auto ranks = engine(steps, cluster, alike_in(out, cluster));
  check_finished(out, ranks);
  for (size_t rank = 0; rank < out.size(); ++rank) {
    RankTrace& trace = out[rank];
    const auto& times = ranks[rank].times;
    trace.begin_s = 0;
    trace.end_s = times.empty() ? 0 : times.back().end_s;
    trace.timed = true;
    for (size_t i = 0; i < times.size(); ++i) {
      trace.events[i].begin_s = times[i].begin_s;
      trace.events[i].end_s = times[i].end_s;
    }
  }
  return out;
}

std::vector<RankTrace> replay_with(Engine engine, const std::vector<RankTrace>& traces, const Cluster& cluster,
                                   const ComputeSeconds& compute_seconds) {
  const int64_t times = times_repeated(traces), most = kMostEvents / std::max<int64_t>(1, std::ssize(traces));
  // Enough in front that the ranks come into step, and one behind, so that what comes then does not count.
  for (int64_t before = 3; before + 2 < times; before *= 2) {
    std::vector<RankTrace> shorter;
    for (const RankTrace& trace : traces) shorter.push_back(written_out(trace, before, 1, most));
    auto out = replay_written_out(std::move(shorter), cluster, compute_seconds, engine);
    if (set_period(out)) return out;
  }
  std::vector<RankTrace> whole;
  for (const RankTrace& trace : traces) whole.push_back(expanded(trace, most));
  return replay_written_out(std::move(whole), cluster, compute_seconds, engine);
}

}  // namespace

std::vector<RankTrace> replay(const std::vector<RankTrace>& traces, const Cluster& cluster,
                              const ComputeSeconds& compute_seconds) {
  return replay_with(simulate, traces, cluster, compute_seconds);
}

std::vector<RankTrace> replay_uncontended(const std::vector<RankTrace>& traces, const Cluster& cluster,
                                          const ComputeSeconds& compute_seconds) {
  return replay_with(run_uncontended, traces, cluster, compute_seconds);
}

}  // namespace dualparal
