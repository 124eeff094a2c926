// SPDX-License-Identifier: Apache-2.0
#include "comm/fault_monitor.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstring>
#include <new>

#include "base/errors.h"
#include "base/files.h"
#include "base/parse_json.h"

namespace dualparal {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto kBeat = 200ms;
// How long the cause of a symptom is looked for. A rank that says nothing in all that time does not run any more; a
// busy machine can keep one from saying anything for a second.
constexpr auto kPatience = 3000ms;
constexpr int64_t kLooks = 12;   // at a rank, until it counts as silent
constexpr auto kFarewell = 10s;  // at most, for all ranks to have read why they end

volatile std::sig_atomic_t caught_signal = 0;

std::string heartbeat_key(int64_t rank) { return fmt::format("heartbeat/{}", rank); }
std::string farewell_key(int64_t rank) { return fmt::format("farewell/{}", rank); }
constexpr const char* kFailureKey = "failure";

std::vector<uint8_t> bytes(const std::string& text) { return {text.begin(), text.end()}; }

std::string silent_failure(int64_t rank, const std::string& activity) {
  return fmt::format("{} (killed, stopped or cut off); the last that is known of it: {}", lost_rank(rank), activity);
}

std::optional<std::string> read_key(c10d::Store& store, const std::string& key) {
  if (!store.check({key})) return std::nullopt;
  const auto value = store.get(key);
  return std::string(value.begin(), value.end());
}

}  // namespace

std::optional<Heartbeat> read_heartbeat(c10d::Store& store, int64_t rank) {
  const auto text = read_key(store, heartbeat_key(rank));
  if (!text) return std::nullopt;
  const auto json = parse_json(*text);
  return Heartbeat{json[0], json[1], json[2]};
}

std::string report_failure(c10d::Store& store, const std::string& failure) {
  const auto first = store.compareSet(kFailureKey, {}, bytes(failure));
  return {first.begin(), first.end()};
}

std::string lost_rank(int64_t rank) { return fmt::format("rank {} does not run any more", rank); }

std::optional<std::string> read_failure(c10d::Store& store) { return read_key(store, kFailureKey); }

FaultMonitor::FaultMonitor(c10::intrusive_ptr<c10d::Store> store, int64_t rank, int64_t world_size,
                           const Recorder& recorder, std::function<void(const std::string&)> end,
                           std::chrono::milliseconds silence)
    : store_(std::move(store)),
      rank_(rank),
      world_size_(world_size),
      recorder_(recorder),
      end_(std::move(end)),
      beats_between_looks_(std::max<int64_t>(1, silence / kBeat / kLooks)),
      thread_([this] { watch(); }) {}

FaultMonitor::~FaultMonitor() {
  stop_ = true;
  thread_.join();
}

void FaultMonitor::watch() {
  for (int64_t count = 0; !stop_; ++count) {
    try {
      if (caught_signal) {
        const std::string failure = fmt::format("rank {} was told to stop ({}) while {}", rank_,
                                                strsignal(caught_signal), recorder_.activity());
        end_(report_failure(*store_, failure));
        return;
      }
      store_->set(heartbeat_key(rank_),
                  bytes(nlohmann::json{count, recorder_.waiting_for(), recorder_.activity()}.dump()));
      if (!explaining_) {
        auto failure = read_failure(*store_);
        if (!failure && count % beats_between_looks_ == 0) failure = silent_rank();
        if (failure) {
          end_(*failure);
          return;
        }
      }
    } catch (const std::bad_alloc&) {
      // No memory: the main thread will say so, for now the rank lives.
    } catch (const std::exception&) {
      if (!stop_ && !explaining_) end_(store_lost());
      return;
    }
    std::this_thread::sleep_for(kBeat);
  }
}

// Rank 0 looks at all others, rank 1 at rank 0. Looks are counted and not seconds: where all ranks were stopped for a
// while, none was silent.
std::optional<std::string> FaultMonitor::silent_rank() {
  if (rank_ > 1) return std::nullopt;
  const int64_t first = rank_ == 0 ? 1 : 0, end = rank_ == 0 ? world_size_ : 1;
  for (int64_t other = first; other < end; ++other) {
    const auto beat = read_heartbeat(*store_, other);
    if (!beat || store_->check({farewell_key(other)})) continue;
    Silence& seen = silences_[other];
    seen.looks = seen.count == beat->count ? seen.looks + 1 : 0;
    seen.count = beat->count;
    if (seen.looks >= kLooks) return report_failure(*store_, silent_failure(other, beat->activity));
  }
  return std::nullopt;
}

std::string FaultMonitor::explain(const std::exception& error) {
  explaining_ = true;
  const bool of_device = dynamic_cast<const c10::AcceleratorError*>(&error) != nullptr;
  const std::string own =
      fmt::format("rank {}, {}: {}", rank_, of_device ? recorder_.activity_of_device() : recorder_.activity(),
                  first_line(error.what()));
  const auto* symptom = dynamic_cast<const PeerError*>(&error);
  try {
    return symptom ? find_cause(symptom->peer(), own) : report_failure(*store_, own);
  } catch (const std::exception&) {
    // The store is gone, too. A peer that is lost then has most likely ended because of that.
    return symptom ? store_lost() + "; " + own : own;
  }
}

std::string FaultMonitor::store_lost() const {
  return fmt::format("rank {} lost the rendezvous store while {}: the launcher, or rank 0, has ended", rank_,
                     recorder_.activity());
}

std::string FaultMonitor::find_cause(int64_t peer, const std::string& own) {
  const auto started = Clock::now();
  const auto before = heartbeats();
  while (Clock::now() - started < kPatience) {
    if (const auto failure = read_failure(*store_)) return *failure;
    std::this_thread::sleep_for(kBeat / 2);
  }
  const auto after = heartbeats();
  const auto silent = [&](int64_t r) {
    return r != rank_ && before[r] && after[r] && before[r]->count == after[r]->count;
  };
  // Who is waited for, and does not wait itself?
  int64_t culprit = peer;
  for (int64_t hop = 0; hop < world_size_ && !silent(culprit) && after[culprit] && after[culprit]->waiting_for >= 0 &&
                        after[culprit]->waiting_for < world_size_;
       ++hop)
    culprit = after[culprit]->waiting_for;
  for (int64_t r = 0; r < world_size_ && !silent(culprit); ++r)
    if (silent(r)) culprit = r;
  if (silent(culprit)) return report_failure(*store_, silent_failure(culprit, after[culprit]->activity));
  if (culprit != rank_ && after[culprit])
    return report_failure(*store_, fmt::format("rank {} lives but kept others waiting too long (--timeout), {}; first "
                                               "noticed by {}",
                                               culprit, after[culprit]->activity, own));
  return report_failure(*store_, own);
}

std::vector<std::optional<Heartbeat>> FaultMonitor::heartbeats() {
  std::vector<std::optional<Heartbeat>> all;
  for (int64_t r = 0; r < world_size_; ++r) all.push_back(read_heartbeat(*store_, r));
  return all;
}

void FaultMonitor::say_farewell(bool wait_for_others) {
  store_->set(farewell_key(rank_), bytes("1"));
  if (!wait_for_others) return;
  const auto started = Clock::now();
  const auto before = heartbeats();
  while (Clock::now() - started < kFarewell) {
    const bool late = Clock::now() - started > kPatience;
    const auto now = heartbeats();
    bool all = true;
    for (int64_t r = 0; r < world_size_; ++r) {
      const bool gone = late && (!now[r] || (before[r] && before[r]->count == now[r]->count));
      all = all && (r == rank_ || gone || store_->check({farewell_key(r)}));
    }
    if (all) return;
    std::this_thread::sleep_for(kBeat / 4);
  }
}

void end_process(const std::string& failure) {
  std::fputs(fmt::format("error: {}\n", failure).c_str(), stderr);  // the terminal may be gone
  remove_pending_files();
  _exit(1);
}

void catch_signals() {
  struct sigaction action {};
  action.sa_handler = [](int signal) { caught_signal = signal; };
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaction(signal, &action, nullptr);
  // Writing to a rank, a store or a terminal that has just gone is an error to be explained, not the end.
  action.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &action, nullptr);
}

}  // namespace dualparal
