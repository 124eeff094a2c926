// SPDX-License-Identifier: Apache-2.0
#include "harness/run/run_output.h"

#include <algorithm>

#include "base/finite.h"
#include "harness/options/endless_options.h"
#include "harness/options/prompt_list.h"
#include "harness/options/timed_prompts.h"
#include "harness/run/video_sink.h"
#include "strategy/denoise/number_watch.h"

namespace dualparal {
namespace {

VideoSinkOptions sink_options(const GenerateOptions& options, const OutputSubject& subject,
                              const std::string& latents_path) {
  std::vector<Chapter> chapters;
  for (const ShownPrompt& one : shown_prompts(options, subject.plan.block_starts, subject.model.geometry()))
    if (one.frame >= 0) chapters.push_back({one.frame, one.text});
  return {
      .frames = *options.video.frames,
      .endless = is_endless(options),
      .height = *options.video.height,
      .width = *options.video.width,
      .fps = *options.video.fps,
      .device = subject.device,
      .decode = !options.output.no_decode,
      .overlap = options.output.overlap_decoding,
      .video_path = options.output.video,
      .chapters = std::move(chapters),
      .frames_dir = options.output.save_frames,
      .latents_path = latents_path,
  };
}

class VideoOutput final : public RunOutput {
 public:
  VideoOutput(const GenerateOptions& options, const OutputSubject& subject, const std::string& latents_path) {
    if (!options.output.no_quality)
      quality_ = std::make_unique<QualityMeter>(
          QualitySubject{.frames = *options.video.frames,
                         .latent_frames = subject.latent_frames,
                         .block_starts = subject.plan.block_starts,
                         .prompt = options.video.prompt.value_or(""),
                         .content = subject.model.name() == "moving-shapes" && options.video.timed_prompts.empty()});
    sink_ = std::make_unique<VideoSink>(sink_options(options, subject, latents_path), subject.load_vae, quality_.get());
  }

  void push(const at::Tensor& latents) override { sink_->push(latents); }
  void finish() override { sink_->finish(); }
  double decode_s() const override { return sink_->decode_s(); }
  int64_t decode_peak_memory_bytes() const override { return sink_->decode_peak_memory_bytes(); }
  int64_t latent_frames() const override { return sink_->latent_frames(); }
  int64_t frames_written() const override { return sink_->frames_written(); }
  std::vector<nlohmann::ordered_json> qualities() const override {
    return {quality_ ? nlohmann::ordered_json(quality_->result()) : nlohmann::ordered_json(nullptr)};
  }

 private:
  std::unique_ptr<QualityMeter> quality_;
  std::unique_ptr<VideoSink> sink_;
};

class ListOutput final : public RunOutput {
 public:
  ListOutput(const GenerateOptions& options, const OutputSubject& subject)
      : subject_(subject), listed_(videos_in_run(options)) {
    const auto all = videos_of(options);
    for (const int64_t video : subject.videos) videos_.push_back(all.at(static_cast<size_t>(video)));
    for (const GenerateOptions& video : videos_) VideoOutput(video, subject_, video.output.save_latents);
  }

  void push(const at::Tensor& latents) override {
    const at::Tensor copy = latents.to(at::kCPU, at::kFloat);
    const int64_t end = frames_ + copy.size(2);
    if (!all_finite(copy))
      throw NotFiniteError(fmt::format("video {} of {}: latent frames {}..{} are not finite: they hold NaN or infinity",
                                       subject_.videos.at(video_) + 1, listed_, frames_, end - 1));
    check(video_ < videos_.size() && end <= subject_.latent_frames,
          "{} latent frames for a video of {}, after {} finished videos of {}", end, subject_.latent_frames, video_,
          videos_.size());
    const std::string& path = videos_[video_].output.save_latents;
    if (!path.empty() && !file_) file_ = std::make_unique<LatentsFile>(path);
    if (file_) file_->push(copy);
    spool_.push(copy);
    frames_ = end;
    if (frames_ < subject_.latent_frames) return;
    if (file_) file_->finish();
    file_.reset();
    frames_ = 0;
    ++video_;
  }

  void finish() override {
    for (const GenerateOptions& video : videos_) {
      VideoOutput output(video, subject_, /*latents_path=*/"");
      for (int64_t frames = 0; frames < subject_.latent_frames;) {
        const at::Tensor latents = spool_.pop();
        frames += latents.size(2);
        output.push(latents);
      }
      output.finish();
      decode_s_ += output.decode_s();
      frames_written_ += output.frames_written();
      decode_peak_bytes_ = std::max(decode_peak_bytes_, output.decode_peak_memory_bytes());
      qualities_.push_back(output.qualities().at(0));
    }
  }

  double decode_s() const override { return decode_s_; }
  int64_t decode_peak_memory_bytes() const override { return decode_peak_bytes_; }
  int64_t latent_frames() const override { return static_cast<int64_t>(video_) * subject_.latent_frames + frames_; }
  int64_t frames_written() const override { return frames_written_; }
  std::vector<nlohmann::ordered_json> qualities() const override { return qualities_; }

 private:
  std::vector<GenerateOptions> videos_;
  OutputSubject subject_;
  int64_t listed_;  // videos of all replicas
  LatentsSpool spool_;
  std::unique_ptr<LatentsFile> file_;  // of the video under way
  size_t video_ = 0;                   // under way
  int64_t frames_ = 0;                 // of it so far
  double decode_s_ = 0;
  int64_t frames_written_ = 0;
  int64_t decode_peak_bytes_ = 0;
  std::vector<nlohmann::ordered_json> qualities_;
};

}  // namespace

std::unique_ptr<RunOutput> open_output(const GenerateOptions& options, const OutputSubject& subject,
                                       const std::string& latents_path) {
  if (in_scenario(options)) return std::make_unique<ListOutput>(options, subject);
  return std::make_unique<VideoOutput>(options, subject, latents_path);
}

}  // namespace dualparal
