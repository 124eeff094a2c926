// SPDX-License-Identifier: Apache-2.0
#include "harness/cli/inspect.h"

#include "base/device.h"
#include "base/errors.h"
#include "model/wan/wan_model.h"
#include "strategy/parallel/partition.h"

namespace dualparal {
namespace {

std::string mib(int64_t bytes) { return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20)); }

std::string stored(const std::filesystem::path& part) {
  try {
    const Checkpoint checkpoint(part);
    std::set<std::string> files, dtypes;
    for (const auto& [name, file] : checkpoint.files()) {
      files.insert(file->path().filename().string());
      dtypes.insert(c10::toString(checkpoint.entry(name).dtype));
    }
    return fmt::format("{} tensors in {} file(s), {} as stored ({})", checkpoint.files().size(), files.size(),
                       mib(checkpoint.stored_bytes()), fmt::join(dtypes, ", "));
  } catch (const Error& error) {
    return fmt::format("no weights ({})", error.what());
  }
}

// The second line of a part: what it weighs, and what is stored of it.
std::string size_of(const WeightSource& weights, const std::string& dtype, const std::filesystem::path& part) {
  return fmt::format("              {:.2f} M parameters, {} in {}; {}\n",
                     static_cast<double>(weights.parameters()) / 1e6, mib(weights.held_bytes()), dtype, stored(part));
}

std::string transformers(const WanModel& model, const std::string& dtype) {
  const auto& t = model.transformer_config();
  std::string out =
      fmt::format("transformer   {} layers, {} heads x {}, ffn {}, text {}, patch {}\n", t.num_layers,
                  t.num_attention_heads, t.attention_head_dim, t.ffn_dim, t.text_dim, fmt::join(t.patch_size, "x"));
  if (model.from_image())
    out += fmt::format("              from an image: {} channels in, {} out{}\n", t.in_channels, t.out_channels,
                       model.needs_image_embeds()
                           ? fmt::format(", cross-attention to {} tokens of {}", model.image_tokens(), t.image_dim)
                           : "");
  if (model.takes_first_frame())
    out += fmt::format("              {} channels; an image can be the first latent frame, with timestep 0\n",
                       t.in_channels);
  for (int64_t expert = 0; expert < model.experts(); ++expert) {
    const auto weights = shapes_only(parse_dtype(dtype));
    const Transformer whole(t, *weights, model.whole());
    const char* name = expert == 0 ? "transformer" : "transformer_2";
    if (model.experts() == 2)
      out += fmt::format("{:14}expert for t {} {}\n", name, expert == 0 ? ">=" : "<", model.boundary_timestep());
    out += size_of(*weights, dtype, model.dir() / name);
  }
  return out;
}

std::string other_parts(const WanModel& model, const std::string& dtype) {
  const auto vae = shapes_only(parse_dtype(dtype)), text = shapes_only(parse_dtype(dtype));
  const Vae autoencoder(model.vae_config(), *vae, Vae::Parts::kBoth);
  const TextEncoder encoder(model.text_encoder_config(), *text);
  const auto& v = model.vae_config();
  std::string out =
      fmt::format("vae           base {}{}, {} latent channels, stride {} x {} x {} (frames, height, width){}{}\n",
                  v.base_dim, v.decoder_dim() != v.base_dim ? fmt::format(" and {}", v.decoder_dim()) : "", v.z_dim,
                  v.temporal_stride(), v.spatial_stride(), v.spatial_stride(), v.is_residual ? ", residual" : "",
                  v.patch_size > 1 ? fmt::format(", patches of {}", v.patch_size) : "");
  out += size_of(*vae, dtype, model.dir() / "vae");
  const auto& e = model.text_encoder_config();
  out += fmt::format("text_encoder  {} layers, d_model {}, {} heads, vocabulary {}\n", e.num_layers, e.d_model,
                     e.num_heads, e.vocab_size);
  out += size_of(*text, dtype, model.dir() / "text_encoder");
  if (model.needs_image_embeds()) {
    const auto images = shapes_only(parse_dtype(dtype));
    const auto& i = model.image_encoder_config();
    const ImageEncoder image_encoder(i, *images);
    out += fmt::format("image_encoder {} layers, {} wide, {} heads, {} pixels, patch {}\n", i.num_hidden_layers,
                       i.hidden_size, i.num_attention_heads, i.image_size, i.patch_size);
    out += size_of(*images, dtype, model.dir() / "image_encoder");
  }
  const auto& s = model.scheduler_config();
  return out + fmt::format("scheduler     {}, flow shift {}\n", s.class_name, s.flow_shift);
}

// "  3..7 ", and where a layer is shared: "  3..7, from 3:cross, to 7:self:0.400".
std::string layers_text(const std::vector<TransformerParts>& stages, size_t stage) {
  const LayerRange& layers = stages[stage].layers;
  std::string text = fmt::format("{:>2}..{:<2}", layers.begin, layers.end - 1);
  const auto start = [&](size_t of) { return stage_starts({{}, stages[of]}); };
  if (layers.from != LayerCut{}) text += fmt::format(", from {}", start(stage));
  if (layers.to != LayerCut{kLayerParts, 0}) text += fmt::format(", to {}", start(stage + 1));
  return text;
}

// Of a block in the middle of a video, both halves of guidance.
Workload workload_of_block(const WanModel& model, const InspectOptions& options) {
  const auto& patch = model.transformer_config().patch_size;
  const int64_t stride = model.vae_config().spatial_stride();
  Workload work;
  work.config = model.transformer_config();
  work.batch = 2;
  work.frame_tokens = (options.height / stride / patch[1]) * (options.width / stride / patch[2]);
  check_usage(work.frame_tokens > 0, "--height {} --width {}: too small for a patch", options.height, options.width);
  work.element_bytes = static_cast<int64_t>(c10::elementSize(parse_dtype(options.dtype)));
  work.device = named_device(options.device).type();
  work.text_tokens = model.text_tokens();
  if (model.needs_image_embeds()) work.image_tokens = model.image_tokens();
  return work;
}

std::string split(const WanModel& model, const InspectOptions& options) {
  const Workload work = workload_of_block(model, options);
  const int64_t window = (options.block_frames + options.context_frames) * work.frame_tokens;
  const TypicalWindow typical{window, window + options.context_frames * work.frame_tokens};
  const auto stages = PartitionOption{options.partition}.stages(work, options.nproc, typical);
  const PartCosts costs = trace_part_costs(work, typical);
  double all = 0, most = 0;
  for (const TransformerParts& parts : stages) {
    all += costs.of(parts);
    most = std::max(most, costs.of(parts));
  }
  const double mean = all / static_cast<double>(stages.size());
  std::string out = fmt::format("\n{} split over {} rank(s), {}, weights in {}:\n",
                                model.experts() == 2 ? "Both experts" : "Transformer", options.nproc,
                                options.partition == "layers"     ? "whole layers, the slowest rank as fast as can be"
                                : options.partition == "balanced" ? "balanced by what their parts cost"
                                                                  : "as given",
                                options.dtype);
  for (size_t rank = 0; rank < stages.size(); ++rank) {
    const auto share = shapes_only(parse_dtype(options.dtype));
    for (int64_t expert = 0; expert < model.experts(); ++expert)
      const Transformer part(work.config, *share, stages[rank]);
    out += fmt::format("  rank {}: layers {:<8} {:>9.2f} M parameters {:>12}, work {:.3f} of the mean\n", rank,
                       layers_text(stages, rank), static_cast<double>(share->parameters()) / 1e6,
                       mib(share->held_bytes()), costs.of(stages[rank]) / mean);
  }
  return out + fmt::format(
                   "  largest work {:.3f} of the mean, {:.3f} of an even part of the undivided model's; blocks of {} + "
                   "{} latent "
                   "frames of {} x {}, on {}\n  --partition {}\n",
                   most / mean,
                   most * static_cast<double>(stages.size()) / costs.of({{0, work.config.num_layers}, true, true}),
                   options.block_frames, options.context_frames, options.height, options.width, options.device,
                   stages.size() > 1 ? stage_starts(stages) : "layers");
}

}  // namespace

std::string inspect_checkpoint(const std::filesystem::path& model_dir, const InspectOptions& options) {
  const WanModel model(model_dir, /*random_weights=*/true);
  const auto& t = model.transformer_config();
  check_usage(options.nproc >= 1 && options.nproc <= 2 * t.num_layers,
              "--nproc: expected 1 to {} (two for each of the model's layers), got {}", 2 * t.num_layers,
              options.nproc);
  return fmt::format("{}\n", model_dir.string()) + transformers(model, options.dtype) +
         other_parts(model, options.dtype) + split(model, options);
}

}  // namespace dualparal
