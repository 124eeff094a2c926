// SPDX-License-Identifier: Apache-2.0
#include "harness/options/open_model.h"

#include "base/errors.h"

namespace dualparal {

nlohmann::ordered_json loras_json(const ModelOptions& model) {
  auto list = nlohmann::ordered_json::array();
  for (const auto& text : model.loras) {
    const LoraSpec lora = parse_lora(text);
    list.push_back({{"file", lora.file.string()}, {"scale", lora.scale}, {"expert", lora.expert}});
  }
  return list;
}

void check_image_options(const GenerateOptions& o, const WanModel& model) {
  const bool images = !o.video.image.empty() || !o.video.last_image.empty();
  check_usage(model.from_image() || (!images && o.video.image_embeds.empty()), "{}: {} makes videos from text alone",
              images ? (o.video.image.empty() ? "--last-image" : "--image") : "--image-embeds", o.model.dir);
  check_usage(!images || o.video.image_embeds.empty(), "--image and --image-embeds: give one of them");
  check_usage(o.video.image_embeds.empty() || o.output.save_image_embeds.empty(),
              "--save-image-embeds: --image-embeds {} is such a file", o.video.image_embeds);
  if (!model.from_image() || o.run.mode != Mode::kRun) return;
  check_usage(!o.video.image.empty() || !o.video.image_embeds.empty(),
              "--image (or --image-embeds) is missing: {} makes videos from an image", o.model.dir);
  const LatentGeometry geometry = model.geometry();
  check_usage(o.video.last_image.empty() || geometry.frames(geometry.latent_frames(*o.video.frames)) == *o.video.frames,
              "--last-image: the last frame would be cut off: --frames expected 1 + a multiple of {}, got {}",
              geometry.temporal_stride, *o.video.frames);
}

WanModel open_model(const ModelOptions& options) {
  std::vector<LoraSpec> loras;
  for (const auto& text : options.loras) loras.push_back(parse_lora(text));
  return {options.dir, options.random_weights, loras};
}

}  // namespace dualparal
