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

}  // namespace

std::string inspect_checkpoint(const std::filesystem::path& model_dir, int64_t nproc, const std::string& dtype_text) {
  const at::ScalarType dtype = parse_dtype(dtype_text);
  const WanModel model(model_dir, /*random_weights=*/true);
  const auto& t = model.transformer_config();
  check_usage(nproc >= 1 && nproc <= t.num_layers, "--nproc: expected 1 to {} (the model's layers), got {}",
              t.num_layers, nproc);

  const auto whole = shapes_only(dtype), vae = shapes_only(dtype), text = shapes_only(dtype);
  const Transformer transformer(t, *whole, model.whole());
  const Vae autoencoder(model.vae_config(), *vae, Vae::Parts::kBoth);
  const TextEncoder encoder(model.text_encoder_config(), *text);

  std::string out = fmt::format("{}\n", model_dir.string());
  out += fmt::format("transformer   {} layers, {} heads x {}, ffn {}, text {}, patch {}\n", t.num_layers,
                     t.num_attention_heads, t.attention_head_dim, t.ffn_dim, t.text_dim, fmt::join(t.patch_size, "x"));
  out +=
      fmt::format("              {:.2f} M parameters, {} in {}; {}\n", static_cast<double>(whole->parameters()) / 1e6,
                  mib(whole->held_bytes()), dtype_text, stored(model_dir / "transformer"));
  const auto& v = model.vae_config();
  out += fmt::format("vae           base {}, {} latent channels, stride {} x {} x {} (frames, height, width)\n",
                     v.base_dim, v.z_dim, v.temporal_stride(), v.spatial_stride(), v.spatial_stride());
  out += fmt::format("              {:.2f} M parameters, {} in {}; {}\n", static_cast<double>(vae->parameters()) / 1e6,
                     mib(vae->held_bytes()), dtype_text, stored(model_dir / "vae"));
  const auto& e = model.text_encoder_config();
  out += fmt::format("text_encoder  {} layers, d_model {}, {} heads, vocabulary {}\n", e.num_layers, e.d_model,
                     e.num_heads, e.vocab_size);
  out += fmt::format("              {:.2f} M parameters, {} in {}; {}\n", static_cast<double>(text->parameters()) / 1e6,
                     mib(text->held_bytes()), dtype_text, stored(model_dir / "text_encoder"));
  const auto& s = model.scheduler_config();
  out += fmt::format("scheduler     {}, flow shift {}\n", s.class_name, s.flow_shift);

  out += fmt::format("\nTransformer split over {} rank(s), the slowest rank as fast as can be, weights in {}:\n", nproc,
                     dtype_text);
  for (int64_t rank = 0; rank < nproc; ++rank) {
    const auto share = shapes_only(dtype);
    const TransformerParts parts = partition(t, nproc)[rank];
    const Transformer part(t, *share, parts);
    out += fmt::format("  rank {}: layers {:>2}..{:<2} {:>9.2f} M parameters {:>12}\n", rank, parts.layers.begin,
                       parts.layers.end - 1, static_cast<double>(share->parameters()) / 1e6, mib(share->held_bytes()));
  }
  return out;
}

}  // namespace dualparal
