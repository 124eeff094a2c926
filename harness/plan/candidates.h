// SPDX-License-Identifier: Apache-2.0
// What `dualparal plan` chooses from: every strategy with the values of its options that change how fast it is.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "strategy/strategy.h"

namespace dualparal {

struct Candidate {
  std::string strategy;
  OptionValues options = {};  ///< that differ from the strategy's defaults
  int64_t ranks = 1;
  bool exact = false;  ///< gives what `single` gives, up to rounding

  /// As flags of generate: "--strategy usp --nproc 8 --ulysses-degree 4".
  std::string flags() const;
};

/// The same with the caches that it keeps from one iteration to the next in host memory; nothing if it keeps none there
/// already, or has none.
std::optional<Candidate> with_caches_on_host(const Candidate& candidate);

/// On so many devices, in an order in which fast ones of every kind tend to come early. Some cannot run: what a
/// strategy's plan refuses is found out by asking it. guided: there are two halves of guidance to share or to take in
/// turn. exact_only: no strategies that change what the video shows.
std::vector<Candidate> candidates(int64_t devices, bool guided, bool exact_only);

}  // namespace dualparal
