// SPDX-License-Identifier: Apache-2.0
#include "harness/snapshots/stop_signals.h"

#include <array>
#include <csignal>
#include <cstddef>

namespace dualparal {
namespace {

constexpr std::array kSignals = {SIGTERM, SIGUSR1};

volatile std::sig_atomic_t wished = 0;
std::array<struct sigaction, kSignals.size()> before;
bool caught = false;

void note_wish(int) { wished = 1; }

}  // namespace

void catch_stop_signals() {
  struct sigaction action {};
  action.sa_handler = note_wish;
  action.sa_flags = SA_RESTART;
  for (size_t i = 0; i < kSignals.size(); ++i) {
    struct sigaction other {};
    sigaction(kSignals[i], &action, &other);
    if (other.sa_handler != note_wish) before[i] = other;
  }
  caught = true;
}

void release_stop_signals() {
  for (size_t i = 0; caught && i < kSignals.size(); ++i) sigaction(kSignals[i], &before[i], nullptr);
  caught = false;
}

bool stop_wished() { return wished != 0; }

}  // namespace dualparal
