// SPDX-License-Identifier: Apache-2.0
#include "harness/snapshots/stop_signals.h"

#include <array>
#include <csignal>
#include <cstddef>

namespace dualparal {
namespace {

constexpr std::array kSignals = {SIGTERM, SIGUSR1, SIGINT};

volatile std::sig_atomic_t wished = 0;
std::array<struct sigaction, kSignals.size()> before;
size_t caught = 0;  // the first so many signals

void note_wish(int signal) {
  wished = 1;
  if (signal == SIGINT) std::signal(SIGINT, SIG_DFL);
}

}  // namespace

void catch_stop_signals(bool interrupts) {
  struct sigaction action {};
  action.sa_handler = note_wish;
  action.sa_flags = SA_RESTART;
  caught = kSignals.size() - (interrupts ? 0 : 1);
  for (size_t i = 0; i < caught; ++i) {
    struct sigaction other {};
    sigaction(kSignals[i], &action, &other);
    if (other.sa_handler != note_wish) before[i] = other;
  }
}

void release_stop_signals() {
  for (size_t i = 0; i < caught; ++i) sigaction(kSignals[i], &before[i], nullptr);
  caught = 0;
}

bool stop_wished() { return wished != 0; }

}  // namespace dualparal
