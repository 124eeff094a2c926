// SPDX-License-Identifier: Apache-2.0
// A run's result line.
#include "base/measure/memory.h"
#include "harness/options/endless_options.h"
#include "harness/options/result_header.h"
#include "harness/record/provenance.h"
#include "harness/record/statistics.h"
#include "harness/run/run_session.h"
#include "harness/trace/rank_lines.h"
#include "model/ops/attention_kernel.h"
#include "model/ops/kernels.h"

namespace dualparal {
namespace {

// Times, bytes and operations of a part are none of the run.
void leave_out_sums(ResultLine& line) {
  line.latency_s = line.first_block_s = line.bubble_ratio = line.flops = std::nullopt;
  line.sent_bytes = std::nullopt;
  line.samples.clear();
  line.per_rank.clear();
}

}  // namespace

// Its latency is that of the frames that there are, with others under way: not one to be held against others.
void RunSession::set_endless(ResultLine& line) const {
  line.latent_frames = output_->latent_frames();
  line.frames = options_.output.no_decode ? model_.geometry().frames(std::max<int64_t>(1, output_->latent_frames()))
                                          : output_->frames_written();
  line.provenance["endless"] = {{"denoise_s", own_.samples.at(0)}};
  line.bubble_ratio_slots = std::nullopt;
  line.analytic_cost = std::nullopt;
}

ResultLine RunSession::result_line(const std::vector<RankTrace>& traces, const Made& made) {
  ResultLine line = result_header(options_, model_.name(), request_.latent_frames, group_.world_size());
  set_rank_fields(line, traces);
  line.samples = own_.samples;
  if (const MeanInterval interval = mean_interval(own_.samples); own_.samples.size() > 1)
    line.interval = interval.half_width / interval.mean;
  line.text_encode_s = text_encode_s_;
  line.load_s = own_.load_s;
  if (!options_.output.no_decode) line.decode_s = made.decode_s;
  line.total_s = total_.seconds();
  line.text_peak_memory_bytes = text_peak_bytes_;
  if (!options_.output.no_decode && !options_.output.overlap_decoding)  // else it is denoising's as well
    line.decode_peak_memory_bytes = made.decode_peak_memory_bytes;
  line.peak_resident_bytes = peak_resident_bytes();
  set_formula_fields(line, plans_);
  if (!line.videos) line.quality = made.qualities.at(0);
  for (size_t video = 0; video < line.per_video.size(); ++video)
    line.per_video[video].quality = made.qualities.at(video);
  if (!options_.output.reference_latents.empty())
    line.quality.update(compare_latents(latents_path_, options_.output.reference_latents, *options_.video.frames,
                                        options_.output.no_decode ? nullptr : load_vae_));
  set_config(line, options_);
  line.program_hash = program_hash();
  line.provenance = provenance(device_);
  line.provenance["kernels"] = kernels_on(device_.type());
  if (options_.snapshots.active()) line.provenance["snapshot_every_s"] = options_.snapshots.every_s;
  const SavedRun* resumed = snapshots_ ? snapshots_->resumed() : nullptr;
  if (resumed) line.provenance["resumed_after"] = resumed->done;
  if (is_endless(options_)) set_endless(line);
  if (resumed || is_endless(options_)) leave_out_sums(line);
  line.provenance["attention"] =
      attention_kernel(device_, placement_.dtype, model_.transformer_config().attention_head_dim);
  line.provenance["gpu_state"] = gpu_state_;
  line.provenance["load_before"] = load_before_;
  return line;
}

}  // namespace dualparal
