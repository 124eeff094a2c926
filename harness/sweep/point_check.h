// SPDX-License-Identifier: Apache-2.0
// Before the first point of an experiment runs: which there are, and whether each can run at all.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "harness/record/result_line.h"
#include "harness/sweep/experiment.h"

namespace dualparal {

/// Keeps the points for which every condition "flag=value" holds; of several conditions on one flag, one is enough.
/// Besides flags of `generate`, "strategy", "cluster" (a name; "cluster=" is what is not simulated) and "repeat" are
/// known. UsageError for another flag, or if no point is left, with the values that there are.
void keep_only(Experiment& experiment, const std::vector<std::string>& conditions);

/// UsageError that lists every point that cannot run, with the reason, if there is any: a flag's value, a plan that
/// does not work out on so many ranks, a model without weights, more ranks than a cluster has devices. Points that the
/// experiment skips are not checked. Nothing is run, no weights are read.
void check_points(const Experiment& experiment);

/// label() and the values of all other flags that differ between points: "dualparal x4, 129 frames, feature-cache off".
std::string long_label(const Point& point, const std::set<std::string>& varied);

/// A line for each point, with what `lines`, those so far, say of it: to do, done, failed; and
/// an estimate of the time from the lines that are there.
std::string list_points(const Experiment& experiment, const std::vector<ResultLine>& lines);

}  // namespace dualparal
