// SPDX-License-Identifier: Apache-2.0
#include "harness/metrics/quality.h"

#include <algorithm>
#include <cmath>

#include "base/errors.h"

namespace dualparal {
namespace {

constexpr int64_t kFramesPerLatent = 4;  // video frames of every latent frame but the first, which has one
constexpr int64_t kChunkOfLatents = 8;   // stands in for a block where a strategy has none
constexpr int64_t kLongestSide = 256;    // of the pictures in which motion and contents are looked for

/// The first video frame that latent frame `latent` (1 or more) decodes to.
int64_t first_frame(int64_t latent) { return kFramesPerLatent * (latent - 1) + 1; }

QualitySubject checked(QualitySubject subject) {
  check(subject.frames >= 1 && subject.latent_frames >= 1, "quality: {} frames of {} latent frames", subject.frames,
        subject.latent_frames);
  const int64_t decoded = kFramesPerLatent * (subject.latent_frames - 1) + 1;
  check(subject.frames <= decoded, "quality: {} latent frames decode to {} frames, not to {}", subject.latent_frames,
        decoded, subject.frames);
  auto& starts = subject.block_starts;
  check(std::ranges::is_sorted(starts) && std::ranges::adjacent_find(starts) == starts.end() &&
            (starts.empty() || (starts.front() >= 0 && starts.back() < subject.latent_frames)),
        "quality: blocks must begin at ascending latent frames below {}, got [{}]", subject.latent_frames,
        fmt::join(starts, ", "));
  if (!starts.empty() && starts.front() != 0) starts.insert(starts.begin(), 0);
  return subject;
}

std::vector<int64_t> blocks_or_chunks(const QualitySubject& subject) {
  if (!subject.block_starts.empty()) return subject.block_starts;
  std::vector<int64_t> starts;
  for (int64_t start = 0; start < subject.latent_frames; start += kChunkOfLatents) starts.push_back(start);
  return starts;
}

/// Distance in the space of colour and latent statistics together.
std::optional<double> joint(const std::optional<double>& colour, const std::optional<double>& latent) {
  if (!colour || !latent) return std::nullopt;
  return std::hypot(*colour, *latent);
}

std::vector<int64_t> border_frames(const QualitySubject& subject) {
  std::vector<int64_t> frames;
  for (const int64_t start : subject.block_starts)
    if (start > 0) frames.push_back(first_frame(start));
  return frames;
}

}  // namespace

QualityMeter::QualityMeter(QualitySubject subject)
    : subject_(checked(std::move(subject))),
      borders_(border_frames(subject_)),
      motion_(borders_),
      colour_drift_(subject_.frames, 255.0),
      latent_drift_(subject_.latent_frames),
      repetition_(blocks_or_chunks(subject_), subject_.latent_frames) {
  if (subject_.content) content_.emplace(subject_.prompt);
}

void QualityMeter::push_frames(const at::Tensor& frames) {
  check(frames.dim() == 4 && frames.size(3) == 3 && frames.scalar_type() == at::kByte && frames.is_cpu(),
        "quality: expected frames [frames, height, width, 3] of uint8 on the CPU, got [{}] of {}",
        fmt::join(frames.sizes(), ", "), at::toString(frames.scalar_type()));
  check(!last_frame_.defined() || last_frame_.sizes() == frames.sizes().slice(1),
        "quality: frames of [{}] after frames of [{}]", fmt::join(frames.sizes().slice(1), ", "),
        last_frame_.defined() ? fmt::join(last_frame_.sizes(), ", ") : fmt::join(frames.sizes(), ", "));
  for (const at::Tensor& frame : frames.unbind(0)) {
    const int64_t index = colour_drift_.frames();
    colour_drift_.push(frame.reshape({-1, 3}).t());
    if (last_frame_.defined()) {
      const at::Tensor difference = (frame.to(at::kShort) - last_frame_.to(at::kShort)).abs();
      Mean& mean = std::ranges::binary_search(borders_, index) ? at_border_
                   : index % kFramesPerLatent == 1             ? at_latent_frame_
                                                               : elsewhere_;
      const double change = difference.sum(at::kLong).item<double>() / static_cast<double>(difference.numel());
      mean.add(change);
      if (index == 1)
        first_change_ = change;
      else if (index % kFramesPerLatent == 1)
        later_in_phase_.add(change);
    }
    const Picture picture = shrink(frame, kLongestSide);
    motion_.push(picture);
    loop_.push(picture);
    similarity_.push(picture);
    if (content_) content_->push_frame(frame);
    last_frame_ = frame;
  }
  if (last_frame_.defined()) last_frame_ = last_frame_.clone();  // do not keep the whole piece
}

void QualityMeter::push_latents(const at::Tensor& latents) {
  check(latents.dim() == 5 && latents.size(0) == 1 && latents.scalar_type() == at::kFloat,
        "quality: expected latents [1, channels, frames, h, w] of fp32, got [{}] of {}",
        fmt::join(latents.sizes(), ", "), at::toString(latents.scalar_type()));
  const at::Tensor pieces = latents[0].cpu();  // [channels, frames, h, w]
  for (const at::Tensor& frame : pieces.unbind(1)) latent_drift_.push(frame.flatten(1));
  repetition_.push(pieces);
}

nlohmann::json QualityMeter::result() const {
  const int64_t frames = colour_drift_.frames(), latents = latent_drift_.frames();
  check(frames == 0 || frames == subject_.frames, "quality: {} of {} frames came", frames, subject_.frames);
  check(latents == 0 || latents == subject_.latent_frames, "quality: {} of {} latent frames came", latents,
        subject_.latent_frames);

  const auto change = (at_border_ + at_latent_frame_ + elsewhere_).value();
  nlohmann::json quality = ContentMeter("").result();  // its fields, null
  if (content_) quality = content_->result();
  for (const nlohmann::json& part : {motion_.result(), loop_.result(), similarity_.result()}) quality.update(part);
  quality["first_frame_ratio"] = number(ratio(first_change_, later_in_phase_.value()));
  quality["flicker"] = number(change ? std::optional((255.0 - *change) / 255.0) : std::nullopt);
  quality["seam_ratio"] = number(ratio(at_border_.value(), (at_latent_frame_ + elsewhere_).value()));
  quality["seam_ratio_in_phase"] = number(ratio(at_border_.value(), at_latent_frame_.value()));
  quality["drift"] = number(joint(colour_drift_.to_end(), latent_drift_.to_end()));
  quality["drift_colour"] = number(colour_drift_.to_end());
  quality["drift_latent"] = number(latent_drift_.to_end());
  quality["drift_within_start"] = number(joint(colour_drift_.within_start(), latent_drift_.within_start()));
  quality["drift_colour_within_start"] = number(colour_drift_.within_start());
  quality["drift_latent_within_start"] = number(latent_drift_.within_start());
  quality["repetition"] = number(repetition_.highest());
  for (const char* compared : {"psnr_db", "ssim", "latent_relative_error", "reference_error"})
    quality[compared] = nullptr;
  return quality;
}

}  // namespace dualparal
