// SPDX-License-Identifier: Apache-2.0
#include "runtime/fault_monitor.h"

#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstring>
#include <nlohmann/json.hpp>

#include "runtime/errors.h"
#include "runtime/files.h"

namespace dualparal {
namespace {

using namespace std::chrono_literals;

constexpr auto kBeat = 200ms;
constexpr auto kSilence = 1500ms;  // a rank that has not said anything for so long does not run any more
constexpr auto kPatience = 3000ms;  // how long the cause of a symptom is looked for

volatile std::sig_atomic_t caught_signal = 0;

std::string heartbeat_key(int64_t rank) { return fmt::format("heartbeat/{}", rank); }
constexpr const char* kFailureKey = "failure";

std::vector<uint8_t> bytes(const std::string& text) { return {text.begin(), text.end()}; }

std::optional<std::string> read_key(c10d::Store& store, const std::string& key) {
  if (!store.check({key})) return std::nullopt;
  const auto value = store.get(key);
  return std::string(value.begin(), value.end());
}

}  // namespace

std::optional<Heartbeat> read_heartbeat(c10d::Store& store, int64_t rank) {
  const auto text = read_key(store, heartbeat_key(rank));
  if (!text) return std::nullopt;
  const auto json = nlohmann::json::parse(*text);
  return Heartbeat{json[0], json[1], json[2]};
}

std::string report_failure(c10d::Store& store, const std::string& failure) {
  const auto first = store.compareSet(kFailureKey, {}, bytes(failure));
  return {first.begin(), first.end()};
}

std::optional<std::string> read_failure(c10d::Store& store) { return read_key(store, kFailureKey); }

FaultMonitor::FaultMonitor(c10::intrusive_ptr<c10d::Store> store, int64_t rank, int64_t world_size,
                           const Recorder& recorder, std::function<void(const std::string&)> end)
    : store_(std::move(store)),
      rank_(rank),
      world_size_(world_size),
      recorder_(recorder),
      end_(std::move(end)),
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
      if (!explaining_)
        if (const auto failure = read_failure(*store_)) {
          end_(*failure);
          return;
        }
    } catch (const std::exception&) {
      if (!stop_ && !explaining_)
        end_(fmt::format("rank {} lost the rendezvous store while {}: the launcher, or rank 0, has ended", rank_,
                         recorder_.activity()));
      return;
    }
    std::this_thread::sleep_for(kBeat);
  }
}

std::string FaultMonitor::explain(const std::exception& error) {
  explaining_ = true;
  const std::string text = error.what();
  const std::string own = fmt::format("rank {}, {}: {}", rank_, recorder_.activity(), text.substr(0, text.find('\n')));
  try {
    if (const auto* symptom = dynamic_cast<const PeerError*>(&error)) return find_cause(symptom->peer(), own);
    return report_failure(*store_, own);
  } catch (const std::exception&) {
    return own;  // the store is gone, too
  }
}

std::string FaultMonitor::find_cause(int64_t peer, const std::string& own) {
  using Clock = std::chrono::steady_clock;
  const auto started = Clock::now();
  std::vector<int64_t> first_count(world_size_, -1);
  const auto beats = [&] {
    std::vector<std::optional<Heartbeat>> all;
    for (int64_t r = 0; r < world_size_; ++r) all.push_back(read_heartbeat(*store_, r));
    return all;
  };
  const auto before = beats();
  while (Clock::now() - started < kSilence) {
    if (const auto failure = read_failure(*store_)) return *failure;
    std::this_thread::sleep_for(kBeat / 2);
  }
  const auto after = beats();
  for (int64_t r = 0; r < world_size_; ++r)
    if (r != rank_ && before[r] && after[r] && before[r]->count == after[r]->count)
      return report_failure(*store_, fmt::format("rank {} does not run any more (killed, stopped or cut off); the last "
                                                 "that is known of it: {}", r, after[r]->activity));
  while (Clock::now() - started < kPatience) {
    if (const auto failure = read_failure(*store_)) return *failure;
    std::this_thread::sleep_for(kBeat / 2);
  }
  // Everybody lives. Who is waited for, and does not wait itself?
  int64_t culprit = peer;
  for (int64_t hop = 0; hop < world_size_ && after[culprit] && after[culprit]->waiting_for >= 0; ++hop)
    culprit = after[culprit]->waiting_for;
  if (culprit != rank_ && after[culprit])
    return report_failure(*store_, fmt::format("rank {} lives but kept others waiting too long (--timeout), {}; first "
                                               "noticed by {}", culprit, after[culprit]->activity, own));
  return report_failure(*store_, own);
}

void end_process(const std::string& failure) {
  fmt::print(stderr, "error: {}\n", failure);
  std::fflush(stderr);
  remove_pending_files();
  _exit(1);
}

void catch_signals() {
  struct sigaction action{};
  action.sa_handler = [](int signal) { caught_signal = signal; };
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaction(signal, &action, nullptr);
}

}  // namespace dualparal
