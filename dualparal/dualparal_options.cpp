// SPDX-License-Identifier: Apache-2.0
#include "dualparal/dualparal_options.h"

namespace dualparal {

void DualParalOptions::declare(OptionSet& set) {
  set.number("block-frames", block_frames, "latent frames of a block", 1);
  set.number("context-frames", context_frames, "latent frames seen of the block before, and of the block behind");
  set.toggle("feature-cache", feature_cache, "block behind: cached keys and values (on), or recomputed (off)");
  set.toggle("noise-sharing", noise_sharing, "initial noise of all blocks from one pool");
  set.choice<PreviousContext>("previous-context", previous,
                              "block before: latents one update ahead, at the same noise level, or cached keys and "
                              "values at the same noise level",
                              {{"synchronous", PreviousContext::kSynchronous},
                               {"matched", PreviousContext::kMatched},
                               {"matched_kv", PreviousContext::kMatchedKeyValues}});
  set.choice<WindowPosition>("window-position", position,
                             "temporal positions counted from the window's start, from 1 in all but the first "
                             "block's windows, or from the video's start; but for rounding all the same",
                             {{"local", WindowPosition::kLocal},
                              {"shifted", WindowPosition::kShifted},
                              {"absolute", WindowPosition::kAbsolute}});
  set.choice<BoundaryCache>(
      "boundary-cache", boundary,
      "block behind that is still the other expert's (models of two experts): its frames "
      "recomputed, none, or features of the other expert",
      {{"recompute", BoundaryCache::kRecompute}, {"none", BoundaryCache::kNone}, {"mixed", BoundaryCache::kMixed}});
  set.choice<CacheMemory>(
      "cache-memory", cache_memory,
      "cached keys and values of matched_kv: where there is room for them, on the device, or in "
      "pinned host memory, fetched ahead",
      {{"auto", CacheMemory::kAuto}, {"device", CacheMemory::kDevice}, {"host", CacheMemory::kHost}});
  partition.declare(set);
  groups.declare(set);
  declare_micro_batches(set, halves);
}

}  // namespace dualparal
