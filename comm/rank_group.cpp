// SPDX-License-Identifier: Apache-2.0
#include "comm/rank_group.h"

#include <thread>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>

#include "base/errors.h"
#include "comm/gloo_communicator.h"
#include "comm/local_store.h"
#include "comm/nccl_communicator.h"
#include "comm/part_communicator.h"

namespace dualparal {
namespace {

std::string joined_key(int64_t rank) { return fmt::format("joined/{}", rank); }
std::string left_key(int64_t rank) { return fmt::format("left/{}", rank); }

}  // namespace

RankGroup::RankGroup(const std::optional<RankEnvironment>& environment, const RankGroupOptions& options,
                     Recorder& recorder)
    : options_(options) {
  if (!environment || environment->world_size == 1) {
    comm_ = lone_communicator();
    return;
  }
  environment_ = *environment;
  recorder.set_phase("joining the other ranks");
  const auto connect = [&](int descriptor, bool host) {
    return descriptor >= 0 ? local_store(descriptor) : connect_store(environment_, host, options.timeout);
  };
  store_ = connect(environment_.store_descriptor, holds_store());
  catch_signals();
  monitor_ = std::make_unique<FaultMonitor>(connect(environment_.monitor_descriptor, false), environment_.rank,
                                            environment_.world_size, recorder, [this](const std::string& failure) {
                                              if (turn_to(State::kFailing)) end_now(failure);
                                            });
  watched_ = true;
  try {
    wait_for_all();
    comm_ = gloo_communicator(
        store_, {environment_.rank, environment_.world_size, options.timeout, environment_.one_machine()});
    if (options.backend == "nccl")
      comm_ = nccl_communicator(store_, {environment_.rank, environment_.world_size, options.timeout}, std::move(comm_),
                                options.device);
  } catch (const std::exception& error) {
    end(explain(error));
  }
}

Communicator& RankGroup::part(const std::string& name, const std::vector<int64_t>& ranks) {
  if (static_cast<int64_t>(ranks.size()) == world_size()) return *comm_;
  return *parts_.emplace_back(part_communicator(
      *comm_, ranks, c10::make_intrusive<c10d::PrefixStore>("part/" + name, store_), options_.timeout));
}

void RankGroup::wait_for_all() {
  store_->set(joined_key(environment_.rank), std::vector<uint8_t>{1});
  std::vector<std::string> keys;
  for (int64_t rank = 0; rank < environment_.world_size; ++rank) keys.push_back(joined_key(rank));
  try {
    store_->wait(keys, options_.timeout);
  } catch (const std::exception&) {
    std::vector<int64_t> missing;
    for (int64_t rank = 0; rank < environment_.world_size; ++rank)
      if (!store_->check({joined_key(rank)})) missing.push_back(rank);
    if (missing.empty()) return;  // the last one came just now
    fail("rank(s) {} of {} did not join within {} s (--timeout)", fmt::join(missing, ", "), environment_.world_size,
         options_.timeout.count() / 1000);
  }
}

RankGroup::~RankGroup() {
  if (!store_) return;
  // The monitor may have read a failure just now: then its thread ends the process.
  while (!turn_to(State::kLeaving)) std::this_thread::sleep_for(std::chrono::seconds(1));
  try {
    monitor_->say_farewell(false);
    store_->set(left_key(environment_.rank), std::vector<uint8_t>{1});
    monitor_.reset();
    if (!holds_store()) return;
    std::vector<std::string> keys;
    for (int64_t rank = 0; rank < environment_.world_size; ++rank) keys.push_back(left_key(rank));
    store_->wait(keys, options_.timeout);
  } catch (const std::exception&) {
    // Whoever is missing reports its own end.
  }
}

void RankGroup::end(const std::string& failure) {
  // The monitor's thread and the main thread may both come here: one of them ends the process.
  while (!turn_to(State::kFailing)) std::this_thread::sleep_for(std::chrono::seconds(1));
  end_now(failure);
}

void RankGroup::end_now(const std::string& failure) {
  while (!watched_) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  try {
    monitor_->say_farewell(holds_store());
  } catch (const std::exception&) {
    // The store is gone, and with it whoever held it.
  }
  end_process(failure);
}

// Whether this call was the first to leave the running state.
bool RankGroup::turn_to(State next) {
  State running = State::kRunning;
  return state_.compare_exchange_strong(running, next);
}

std::string RankGroup::explain(const std::exception& error) {
  return monitor_ ? monitor_->explain(error) : error.what();
}

}  // namespace dualparal
