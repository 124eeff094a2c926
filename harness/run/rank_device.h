// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/ATen.h>

#include <optional>
#include <string>

#include "comm/rendezvous.h"

namespace dualparal {

/// The device of this rank, and this process's current one from now on: of `cuda`, one after the other by the rank's
/// place on its machine. Error if it is not there.
at::Device rank_device(const std::string& name, const std::optional<RankEnvironment>& environment);

}  // namespace dualparal
