// SPDX-License-Identifier: Apache-2.0
#include "harness/run/run_session.h"

#include <algorithm>
#include <numeric>

#include "base/cuda.h"
#include "base/device.h"
#include "base/errors.h"
#include "base/files.h"
#include "base/measure/memory.h"
#include "base/parse_json.h"
#include "harness/media/video_file.h"
#include "harness/options/endless_options.h"
#include "harness/options/prompt_list.h"
#include "harness/options/resolve_options.h"
#include "harness/options/strategies.h"
#include "harness/options/timed_prompts.h"
#include "harness/record/gpu_state.h"
#include "harness/record/provenance.h"
#include "harness/record/results.h"
#include "harness/run/agreement.h"
#include "harness/run/replica_plans.h"
#include "harness/snapshots/resume_check.h"
#include "harness/snapshots/stop_signals.h"
#include "harness/trace/rank_figures.h"
#include "harness/trace/rank_lines.h"
#include "model/checkpoint/safetensors.h"

namespace dualparal {
namespace {

std::vector<int64_t> numbers(const Range& range) {
  std::vector<int64_t> all(static_cast<size_t>(range.size()));
  std::iota(all.begin(), all.end(), range.begin);
  return all;
}

}  // namespace

RunSession::RunSession(const GenerateOptions& options, const WanModel& model, Recorder& recorder, RankGroup& group,
                       const at::Device& device, KeptModel* kept)
    : options_(options),
      recorder_(recorder),
      group_(group),
      replicas_(replicas_of(options, group.world_size())),
      replica_(replicas_[group.rank() / replicas_.front().ranks.size()]),
      comm_(group.part(fmt::format("replica {}", &replica_ - replicas_.data()), numbers(replica_.ranks))),
      device_(device),
      placement_{device, parse_dtype(options.model.dtype)},
      model_(model),
      kept_(kept),
      strategy_(find_strategy(options.run.strategy).make(options.run.strategy_options)),
      load_before_(load_average()) {}

std::optional<ResultLine> RunSession::run() {
  prepare();
  condition();
  denoise();
  return finish();
}

void RunSession::prepare() {
  recorder_.set_phase("comparing options");
  check_agreement(group_.comm(), options_);
  request_ = make_request(options_, model_);
  plans_ = plan_replicas(options_, request_, model_, *strategy_, group_.world_size());
  planned_ = &plan_of(plans_, replica_);
  recorder_.count_ranks_from(replica_.ranks.begin);
  load_vae_ = [this] {
    return model_.load_vae({device_, parse_dtype(options_.model.vae_dtype)}, Vae::Parts::kDecoder);
  };
  open_snapshots();
  if (makes_videos()) open_output();
}

void RunSession::open_snapshots() {
  const SnapshotOptions& o = options_.snapshots;
  if (!o.active() && !is_endless(options_)) return;
  recorder_.set_phase("looking for snapshots");
  snapshots_ = std::make_unique<RunSnapshots>(
      RunSnapshotsOptions{o.folder, o.every_s, o.resume, o.must_resume, o.active() ? run_identity(options_) : nullptr,
                          std::chrono::seconds(options_.run.timeout_s), is_endless(options_)},
      group_.comm(), group_.store());
  if (!o.active()) return;
  const SavedRun* kept = snapshots_->resumed();
  strategy_->check_snapshots(planned_->work, kept ? std::optional(kept->world_size) : std::nullopt);
  if (kept && leads() && !options_.run.quiet)
    fmt::print(stderr, "# resumed after {} iterations, kept in {}\n", kept->done, o.folder);
}

// Opened before the work: files that cannot be written, or compared with, fail now.
void RunSession::open_output() {
  latents_path_ = options_.output.save_latents;
  if (!options_.output.reference_latents.empty()) {
    check_reference(options_.output.reference_latents,
                    {1, request_.channels, request_.latent_frames, request_.latent_height, request_.latent_width});
    if (latents_path_.empty()) latents_path_ = (scratch_ = std::make_unique<ScratchLatents>())->path();
  }
  output_ = dualparal::open_output(
      options_, {model_, planned_->plan, request_.latent_frames, replica_.videos, device_, load_vae_}, latents_path_);
}

// On rank 0; of a list, all prompts are encoded with the first.
PromptEmbeds RunSession::encode_prompt() {
  if (!options_.video.prompt_embeds.empty()) return read_prompt_embeds(options_, model_.transformer_config().text_dim);
  if (!kept_) return model_.encode_prompts(*options_.video.prompt, *options_.video.negative_prompt, placement_);
  if (kept_->embeds.empty()) {
    const auto& prompts = options_.video.listed_prompts;
    const auto embeds = model_.encode_prompts(prompts, *options_.video.negative_prompt, placement_);
    for (size_t i = 0; i < prompts.size(); ++i)  // not in the device's memory: they may be many
      kept_->embeds[prompts[i]] = {embeds[i].prompt.cpu(), embeds[i].negative.cpu()};
  }
  return kept_->embeds.at(*options_.video.prompt);
}

// On rank 0: the first one's, and in `later` those of the others. Equal texts are encoded once.
PromptEmbeds RunSession::encode_timed_prompts(std::vector<at::Tensor>& later) {
  std::vector<std::string> texts;
  for (const TimedPrompt& one : options_.video.timed_prompts)
    if (std::ranges::find(texts, one.text) == texts.end()) texts.push_back(one.text);
  const auto embeds = model_.encode_prompts(texts, *options_.video.negative_prompt, placement_);
  for (const TimedPrompt& one : options_.video.timed_prompts)
    if (one.frame > 0) later.push_back(embeds[std::ranges::find(texts, one.text) - texts.begin()].prompt);
  return embeds.front();
}

void RunSession::condition() {
  recorder_.set_phase("encoding the prompt");
  synchronize(device_);
  reset_peak_memory(device_);
  const Stopwatch watch;
  PromptEmbeds embeds;
  std::vector<at::Tensor> later;
  if (leads() && options_.video.timed_prompts.empty()) embeds = encode_prompt();
  if (leads() && !options_.video.timed_prompts.empty()) embeds = encode_timed_prompts(later);
  synchronize(device_);
  text_encode_s_ = watch.seconds();
  text_peak_bytes_ = memory_usage(device_).peak_allocated_bytes;
  const bool each = kept_ && !in_scenario(options_);  // a prompt's part
  if (each && !options_.video.listed_prompts.empty()) {
    kept_->text_encode_s = text_encode_s_ / static_cast<double>(options_.video.listed_prompts.size());
    kept_->text_peak_bytes = text_peak_bytes_;
  }
  if (each) text_encode_s_ = kept_->text_encode_s;
  if (each) text_peak_bytes_ = kept_->text_peak_bytes;
  // The text encoder is gone: neither a peak nor other ranks on this device shall find its memory taken.
  release_cached_memory(device_);
  set_prompts(std::move(embeds));
  set_later_prompts(std::move(later));
  set_image();
  set_following();
  if (leads() && !options_.output.save_noise.empty())
    write_safetensors(options_.output.save_noise, {{"noise", strategy_->initial_noise(request_)}});
}

// Rank 0's embeddings, on every rank.
void RunSession::set_prompts(PromptEmbeds embeds) {
  broadcast_from_first(group_.comm(), embeds.prompt);
  broadcast_from_first(group_.comm(), embeds.negative);
  request_.prompt_embeds = embeds.prompt;
  request_.negative_prompt_embeds = embeds.negative;
  if (!leads() || options_.output.save_prompt_embeds.empty()) return;
  std::map<std::string, at::Tensor> tensors{{"prompt_embeds", embeds.prompt.to(at::kFloat)}};
  if (embeds.negative.defined()) tensors["negative_prompt_embeds"] = embeds.negative.to(at::kFloat);
  write_safetensors(options_.output.save_prompt_embeds, tensors);
}

void RunSession::set_later_prompts(std::vector<at::Tensor> embeds) {
  const auto& prompts = options_.video.timed_prompts;
  for (size_t i = 1; i < prompts.size(); ++i) {
    at::Tensor one = leads() ? embeds.at(i - 1) : at::Tensor();
    broadcast_from_first(group_.comm(), one);
    request_.later_prompts.push_back({latent_frame_from(prompts[i].frame, model_.geometry()), one});
  }
}

// The other videos have prompts of their own, and all else from the first. Each replica keeps those of its share.
void RunSession::set_following() {
  for (int64_t video = 1; video < videos_in_run(options_); ++video) {
    at::Tensor prompt = leads() ? kept_->embeds.at(options_.video.listed_prompts.at(video)).prompt : at::Tensor();
    broadcast_from_first(group_.comm(), prompt);
    if (video == replica_.videos.front())
      request_.prompt_embeds = prompt;
    else if (std::ranges::find(replica_.videos, video) != replica_.videos.end())
      following_.emplace_back(request_).prompt_embeds = prompt;
  }
}

// Rank 0's image, as the model is told of it, on every rank.
void RunSession::set_image() {
  if (!shows_image(options_, model_)) return;
  recorder_.set_phase("encoding the image");
  ImageCondition image;
  if (leads() && !options_.video.image_embeds.empty()) image = read_image_embeds(options_, model_, request_);
  if (leads() && options_.video.image_embeds.empty()) {
    VideoImages images{read_image(options_.video.image)};
    if (!options_.video.last_image.empty()) images.last = read_image(options_.video.last_image);
    image = model_.encode_images(images, request_.latent_frames, *options_.video.height, *options_.video.width,
                                 {device_, parse_dtype(options_.model.vae_dtype)});
    release_cached_memory(device_);
  }
  broadcast_from_first(group_.comm(), image.embeds);
  broadcast_from_first(group_.comm(), image.condition);
  dualparal::set_image(request_, image, model_);
  if (!leads() || options_.output.save_image_embeds.empty()) return;
  std::map<std::string, at::Tensor> tensors{{"condition", image.condition.to(at::kFloat)}};
  if (image.embeds.defined()) tensors["image_embeds"] = image.embeds.to(at::kFloat);
  write_safetensors(options_.output.save_image_embeds, tensors);
}

void RunSession::denoise() {
  NullSink nowhere;
  const RankRun run{options_,
                    model_,
                    *strategy_,
                    planned_->plan,
                    placement_,
                    !options_.output.traces.empty(),
                    leads(),
                    options_.run.strategy,
                    kept_ ? &kept_->transformers : nullptr,
                    snapshots_ ? *snapshots_ : no_snapshots(),
                    following_,
                    !options_.output.traces.empty() || !options_.output.timeline.empty(),
                    &group_.comm()};
  LatentsSink& finished = output_ ? static_cast<LatentsSink&>(*output_) : nowhere;
  std::unique_ptr<LatentsSink> keeping;
  if (options_.snapshots.active() && leads()) keeping = snapshots_->keeping(finished);
  try {
    own_ = run_rank(run, request_, comm_, recorder_, keeping ? *keeping : finished);
  } catch (const RunStopped& stopped) {
    snapshots_->stop(stopped.done());
    throw;
  }
  if (own_.stopped_after && options_.snapshots.active()) snapshots_->stop(*own_.stopped_after);
  if (snapshots_) release_stop_signals();  // what is left is short, and done again by a run that is resumed
  if (leads() && device_.is_cuda()) gpu_state_ = gpu_state(pci_address(device_));
}

// Decodes, on every replica's first rank, its videos; all that comes of it on rank 0.
RunSession::Made RunSession::finish_output() {
  output_->finish();
  Made made{output_->decode_s(), output_->decode_peak_memory_bytes(), output_->qualities()};
  if (replicas_.size() == 1) return made;
  std::vector<int64_t> first_ranks;
  for (const Replica& replica : replicas_) first_ranks.push_back(replica.ranks.begin);
  Communicator& firsts = group_.part("first ranks", first_ranks);
  recorder_.set_phase("gathering the videos' figures");
  Made all{.qualities = std::vector<nlohmann::ordered_json>(videos_in_run(options_))};
  for (size_t i = 0; i < replicas_.front().videos.size(); ++i) {  // one each at a time: the store has a limit
    const auto own = i < made.qualities.size() ? made.qualities[i] : nlohmann::ordered_json(nullptr);
    const auto texts = firsts.gather_patiently(nlohmann::ordered_json{
        {"s", made.decode_s},
        {"bytes", made.decode_peak_memory_bytes},
        {"quality", own}}.dump());
    for (size_t replica = 0; replica < texts.size(); ++replica) {
      const auto json = parse_json<nlohmann::ordered_json>(texts[replica]);
      all.decode_s = std::max(all.decode_s, json.at("s").get<double>());
      all.decode_peak_memory_bytes = std::max(all.decode_peak_memory_bytes, json.at("bytes").get<int64_t>());
      const auto& videos = replicas_[replica].videos;
      if (i < videos.size()) all.qualities.at(static_cast<size_t>(videos[i])) = json.at("quality");
    }
  }
  return all;
}

std::optional<ResultLine> RunSession::finish() {
  recorder_.set_phase("gathering the ranks' figures");
  std::vector<RankTrace> traces;
  for (const auto& text : group_.comm().gather_on_first(own_.trace.to_text()))
    traces.push_back(RankTrace::from_text(text));
  if (!makes_videos()) return std::nullopt;
  recorder_.set_phase("decoding and writing the video");
  const Made made = finish_output();
  if (!leads()) return std::nullopt;
  check(!is_endless(options_) || output_->latent_frames() > 0 || options_.snapshots.active(),
        "told to stop before the first frames were finished: there is no video");
  ResultLine line = result_line(traces, made);
  // First what cannot be had again, then what only explains it.
  if (!options_.output.result.empty()) append_result(options_.output.result, line);
  if (!options_.output.timeline.empty()) write_file(options_.output.timeline, chrome_trace(traces).dump());
  if (!options_.output.traces.empty()) write_traces(options_.output.traces, traces, line);
  if (options_.snapshots.active() && !own_.stopped_after) snapshots_->remove_all();
  return line;
}

}  // namespace dualparal
