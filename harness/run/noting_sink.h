// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "comm/recorder.h"
#include "strategy/denoise/latents_sink.h"
#include "strategy/denoise/number_watch.h"

namespace dualparal {

/// Notes when latents become final, and counts them. Where they are not finite, the watch may know since when.
class NotingSink final : public LatentsSink {
 public:
  NotingSink(LatentsSink& inner, Recorder& recorder, const std::optional<NumberWatch>& watch)
      : inner_(inner), recorder_(recorder), watch_(watch) {}
  void push(const at::Tensor& latents) override {
    recorder_.output(static_cast<int64_t>(latents.nbytes()));
    frames_ += latents.size(2);
    try {
      inner_.push(latents);
    } catch (const NotFiniteError&) {
      if (watch_) watch_->check();
      throw;
    }
  }
  int64_t frames() const { return frames_; }

 private:
  LatentsSink& inner_;
  Recorder& recorder_;
  const std::optional<NumberWatch>& watch_;
  int64_t frames_ = 0;
};

}  // namespace dualparal
