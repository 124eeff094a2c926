// SPDX-License-Identifier: Apache-2.0
// What tells the transformer of each video of a list, as long as blocks of it are under way: memory does not grow with
// the number of prompts.
#pragma once

#include <map>

#include "strategy/denoise/denoiser.h"
#include "strategy/strategy.h"

namespace dualparal {

class ListDenoisers {
 public:
  /// context must outlive it.
  ListDenoisers(const DenoiseContext& context, GuidanceHalves halves)
      : context_(context), halves_(halves), common_(context.request, context.transformer, halves, Range{0, 0}) {}

  /// What all videos have in common; holds no prompt.
  const Denoiser& common() const { return common_; }
  int64_t videos() const { return 1 + static_cast<int64_t>(context_.following.size()); }
  const Request& request(int64_t video) const {
    return video == 0 ? context_.request : context_.following[static_cast<size_t>(video - 1)];
  }
  /// That of a video; made, with its prompt's keys and values in every layer, when it is first asked for.
  const Denoiser& of(int64_t video) {
    return videos_.try_emplace(video, request(video), context_.transformer, halves_).first->second;
  }
  /// No block of an earlier video is left.
  void drop_before(int64_t video) { videos_.erase(videos_.begin(), videos_.lower_bound(video)); }

 private:
  const DenoiseContext& context_;
  GuidanceHalves halves_;
  Denoiser common_;
  std::map<int64_t, Denoiser> videos_;
};

}  // namespace dualparal
