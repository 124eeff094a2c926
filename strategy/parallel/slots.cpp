// SPDX-License-Identifier: Apache-2.0
#include "strategy/parallel/slots.h"

#include <algorithm>

namespace dualparal {

SlotCount count_slots(const std::vector<int64_t>& needs, int64_t stages, int64_t micro_batches,
                      const std::vector<int64_t>& lengths) {
  std::vector<int64_t> begin(stages, -1), free(stages, 0);  // first slot, and the slot after the last so far
  std::vector<int64_t> done;                                // by job: the slot after its last on the last stage
  SlotCount count;
  for (size_t job = 0; job < needs.size(); ++job) {
    const int64_t ready = needs[job] < 0 ? 0 : done.at(needs[job]);
    const int64_t length = lengths.empty() ? 1 : lengths.at(job);
    for (int64_t part = 0; part < micro_batches; ++part) {
      int64_t arrival = ready;
      for (int64_t stage = 0; stage < stages; ++stage) {
        const int64_t slot = std::max(arrival, free[stage]);
        if (begin[stage] < 0) begin[stage] = slot;
        arrival = free[stage] = slot + length;
        count.work += length;
      }
    }
    done.push_back(free.back());
  }
  for (int64_t stage = 0; stage < stages; ++stage)
    if (begin[stage] >= 0) count.idle += free[stage] - begin[stage];
  count.idle -= count.work;
  return count;
}

}  // namespace dualparal
