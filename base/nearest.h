// SPDX-License-Identifier: Apache-2.0
// What was most likely meant by a mistyped word.
#pragma once

#include <string>
#include <vector>

namespace dualparal {

/// The candidate that needs the fewest letters inserted, left out, changed, or swapped with their neighbour to become
/// `word`: the first of equals; empty if that is more than a third of the word.
std::string nearest(const std::string& word, const std::vector<std::string>& candidates);

/// " (did you mean 'single'?)", or nothing if no candidate is near.
std::string did_you_mean(const std::string& word, const std::vector<std::string>& candidates);

}  // namespace dualparal
