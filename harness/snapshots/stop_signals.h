// SPDX-License-Identifier: Apache-2.0
// SIGTERM and SIGUSR1, by which schedulers and launchers announce the end, as a wish: the run keeps its state first.
#pragma once

namespace dualparal {

/// From now on they only note the wish; with `interrupts`, so does Ctrl-C (SIGINT), the first time: the second ends the
/// process at once. May be called again, after somebody else has set handlers of his own.
void catch_stop_signals(bool interrupts = false);
/// Puts back the handlers that were there before.
void release_stop_signals();
/// Whether one of them came.
bool stop_wished();

/// The exit code of a run that was told to stop and has kept its state (EX_TEMPFAIL: try again).
constexpr int kStoppedExitCode = 75;

}  // namespace dualparal
