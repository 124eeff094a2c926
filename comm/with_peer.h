// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <c10/util/Exception.h>

#include <string>

#include "base/errors.h"

namespace dualparal {

/// Runs `action`; what it throws becomes a PeerError that says who was waited for, with the library's first line last.
/// Not so a fault of this rank's own device, which shows where the host next asks for anything.
template <class Action>
void with_peer(int64_t peer, const char* verb, Action&& action) {
  try {
    action();
  } catch (const PeerError&) {
    throw;
  } catch (const c10::AcceleratorError&) {
    throw;
  } catch (const std::exception& error) {
    throw PeerError(peer, fmt::format("{} rank {} failed: {}", verb, peer, first_line(error.what())));
  }
}

}  // namespace dualparal
