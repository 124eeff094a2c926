// SPDX-License-Identifier: Apache-2.0
// What a pipeline would idle if every stage took the same time for every job and messages took none: counted in slots,
// one slot being one job on one stage. Measured idle time is held against it.
#pragma once

#include <cstdint>
#include <vector>

namespace dualparal {

struct SlotCount {
  int64_t work = 0;  ///< of all stages
  int64_t idle = 0;  ///< of all stages, each between its first and its last job

  double bubble_ratio() const { return work > 0 ? static_cast<double>(idle) / static_cast<double>(work + idle) : 0; }
};

/// needs[i]: position of the last job whose result must have left the last stage before job i enters stage 0; -1: none.
/// Every stage takes the jobs in order. micro_batches: parts of a job that travel one after the other. lengths[i]:
/// slots that a part of job i takes on a stage; none: one each.
SlotCount count_slots(const std::vector<int64_t>& needs, int64_t stages, int64_t micro_batches,
                      const std::vector<int64_t>& lengths = {});

}  // namespace dualparal
