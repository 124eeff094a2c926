// SPDX-License-Identifier: Apache-2.0
#include "harness/options/output_options.h"

#include <filesystem>

#include "base/errors.h"
#include "harness/options/endless_options.h"
#include "harness/options/strategies.h"

namespace dualparal {
namespace fs = std::filesystem;
namespace {

void check_output(const OutputOptions& o, Mode mode) {
  if (mode != Mode::kRun)
    for (const auto& [name, value] : {std::pair("--output", o.video),
                                      {"--save-frames", o.save_frames},
                                      {"--save-latents", o.save_latents},
                                      {"--save-noise", o.save_noise},
                                      {"--save-prompt-embeds", o.save_prompt_embeds},
                                      {"--save-image-embeds", o.save_image_embeds},
                                      {"--timeline", o.timeline},
                                      {"--reference-latents", o.reference_latents}})
      check_usage(value.empty(), "{}: --mode {} has no video, latents or common clock to write", name, mode_name(mode));
  check_usage(!(o.no_decode && (!o.video.empty() || !o.save_frames.empty())),
              "--no-decode leaves nothing to write to {}", o.video.empty() ? "--save-frames" : "--output");
  check_usage(!o.no_quality || o.reference_latents.empty(),
              "--reference-latents {} gives quality metrics, which --no-quality leaves out", o.reference_latents);
  check_usage(o.video.empty() || fs::path(o.video).extension() == ".mp4", "--output: expected a .mp4 file, got '{}'",
              o.video);
}

bool leaves_nothing(const GenerateOptions& o) {
  const OutputOptions& out = o.output;
  return o.run.mode == Mode::kRun && !out.no_decode &&
         (out.video + out.save_frames + out.save_latents + out.save_noise + out.save_prompt_embeds +
          out.save_image_embeds + out.result + out.timeline + out.traces)
             .empty();
}

}  // namespace

void resolve_output(GenerateOptions& o) {
  check_output(o.output, o.run.mode);
  check_usage(!o.output.overlap_decoding || find_strategy(o.run.strategy).streams_blocks,
              "--overlap-decoding: {} finishes all latents at once; nothing can be decoded before", o.run.strategy);
  if (leaves_nothing(o))
    o.output.video = fmt::format("{}_{}-frames_seed-{}.mp4", o.run.strategy,
                                 is_endless(o) ? "endless" : std::to_string(*o.video.frames), o.sampling.seed);
}

}  // namespace dualparal
