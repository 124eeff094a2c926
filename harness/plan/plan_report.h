// SPDX-License-Identifier: Apache-2.0
// What `dualparal plan` prints.
#pragma once

#include <string>
#include <vector>

#include "harness/plan/search.h"

namespace dualparal {

struct PlanHeading {
  const GenerateOptions& options;  ///< resolved
  const Cluster& cluster;
  int64_t devices = 1;
  std::string model;
  int64_t rows = 10;
  bool from_image = false;  ///< the model makes videos from an image
};

/// The ranking, in which what is within 5 % of the fastest counts as alike and exact ones of it come first; for every
/// strategy, how its best compares and why, or why it cannot; the commands that run the first choice and the fastest
/// exact one.
std::string plan_report(const PlanHeading& heading, const std::vector<Judged>& judged);

}  // namespace dualparal
