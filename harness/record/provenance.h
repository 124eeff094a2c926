// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/ATen.h>

#include <string>

#include "base/json.h"

namespace dualparal {

/// Of this program's file: another one is another program, whatever commit it says it is of.
std::string program_hash();

/// The version, and of which commit it was built: "0.1.0 (commit ..., with changes)"; without Git the version alone.
std::string version_text();

/// Where a result comes from: code (commit and dirty flag of when it was built), machine, device, library versions,
/// threads, date (UTC).
nlohmann::ordered_json provenance(const at::Device& device);

/// Processes of the machine that ran or waited to run, mean over the last minute; -1: the system does not tell.
double load_average();

}  // namespace dualparal
