// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>

#include "base/errors.h"
#include "model/wan/lora.h"

namespace dualparal {
namespace {

using Pair = std::pair<const char*, const char*>;

// The original program's names of modules, and diffusers'.
constexpr std::array kInBlock = {
    Pair{"self_attn.q", "attn1.to_q"},
    Pair{"self_attn.k", "attn1.to_k"},
    Pair{"self_attn.v", "attn1.to_v"},
    Pair{"self_attn.o", "attn1.to_out.0"},
    Pair{"self_attn.norm_q", "attn1.norm_q"},
    Pair{"self_attn.norm_k", "attn1.norm_k"},
    Pair{"cross_attn.q", "attn2.to_q"},
    Pair{"cross_attn.k", "attn2.to_k"},
    Pair{"cross_attn.v", "attn2.to_v"},
    Pair{"cross_attn.o", "attn2.to_out.0"},
    Pair{"cross_attn.k_img", "attn2.add_k_proj"},
    Pair{"cross_attn.v_img", "attn2.add_v_proj"},
    Pair{"cross_attn.norm_q", "attn2.norm_q"},
    Pair{"cross_attn.norm_k", "attn2.norm_k"},
    Pair{"cross_attn.norm_k_img", "attn2.norm_added_k"},
    Pair{"ffn.0", "ffn.net.0.proj"},
    Pair{"ffn.2", "ffn.net.2"},
    Pair{"norm3", "norm2"},
    Pair{"modulation", "scale_shift_table"},
};
constexpr std::array kOutside = {
    Pair{"patch_embedding", "patch_embedding"},
    Pair{"time_embedding.0", "condition_embedder.time_embedder.linear_1"},
    Pair{"time_embedding.2", "condition_embedder.time_embedder.linear_2"},
    Pair{"time_projection.1", "condition_embedder.time_proj"},
    Pair{"text_embedding.0", "condition_embedder.text_embedder.linear_1"},
    Pair{"text_embedding.2", "condition_embedder.text_embedder.linear_2"},
    Pair{"img_emb.proj.0", "condition_embedder.image_embedder.norm1"},
    Pair{"img_emb.proj.1", "condition_embedder.image_embedder.ff.net.0.proj"},
    Pair{"img_emb.proj.3", "condition_embedder.image_embedder.ff.net.2"},
    Pair{"img_emb.proj.4", "condition_embedder.image_embedder.norm2"},
    Pair{"head.head", "proj_out"},
    Pair{"head.modulation", "scale_shift_table"},
};
constexpr std::array kParts = {
    Pair{".lora_A.weight", "down"}, Pair{".lora_down.weight", "down"}, Pair{".lora_B.weight", "up"},
    Pair{".lora_up.weight", "up"},  Pair{".lora_B.bias", "up_bias"},   Pair{".alpha", "alpha"},
    Pair{".diff", "diff"},          Pair{".diff_b", "diff_b"},
};

std::string underscored(std::string name) {
  std::ranges::replace(name, '.', '_');
  return name;
}

template <class Table>
std::optional<std::string> look_up(const Table& table, const std::string& name, char separator) {
  for (const auto& [original, ours] : table)
    if (name == (separator == '.' ? std::string(original) : underscored(original))) return ours;
  return {};
}

// A module by the original program's name, with dots or, as Kohya's trainers write it, underscores between its parts.
std::optional<std::string> from_original(const std::string& name, char separator) {
  const std::string blocks = std::string("blocks") + separator;
  if (!name.starts_with(blocks)) return look_up(kOutside, name, separator);
  const size_t end = name.find(separator, blocks.size());
  if (end == std::string::npos) return {};
  const std::string index = name.substr(blocks.size(), end - blocks.size());
  if (index.empty() || !std::ranges::all_of(index, [](unsigned char c) { return std::isdigit(c); })) return {};
  const auto inside = look_up(kInBlock, name.substr(end + 1), separator);
  if (!inside) return {};
  return fmt::format("blocks.{}.{}", index, *inside);
}

bool take_prefix(std::string& name, const std::string& prefix) {
  if (!name.starts_with(prefix)) return false;
  name.erase(0, prefix.size());
  return true;
}

}  // namespace

LoraName lora_name(const std::filesystem::path& file, const std::string& name) {
  const auto part = std::ranges::find_if(kParts, [&](const Pair& one) { return name.ends_with(one.first); });
  check(part != kParts.end(),
        "--lora {}: tensor '{}' is not understood: expected a name that ends in lora_A.weight, lora_B.weight (or "
        "lora_down, lora_up), lora_B.bias, alpha, diff or diff_b",
        file.string(), name);
  std::string module = name.substr(0, name.size() - std::string(part->first).size());
  if (take_prefix(module, "lora_unet_")) {
    const auto ours = from_original(module, '_');
    check(ours.has_value(), "--lora {}: tensor '{}' is not understood: Wan has no module '{}'", file.string(), name,
          module);
    return {*ours, part->second};
  }
  if (!take_prefix(module, "diffusion_model.")) {
    take_prefix(module, "base_model.model.");
    take_prefix(module, "transformer.");
  }
  return {from_original(module, '.').value_or(module), part->second};
}

LoraSpec parse_lora(const std::string& text) {
  LoraSpec spec;
  std::string rest = text;
  for (const char* expert : {"high", "low"})
    if (take_prefix(rest, std::string(expert) + "=")) {
      spec.expert = expert;
      break;
    }
  const size_t colon = rest.rfind(':');
  if (colon != std::string::npos) {
    const char* begin = rest.data() + colon + 1;
    const char* end = rest.data() + rest.size();
    double scale = 0;
    const auto [stop, why] = std::from_chars(begin, end, scale);
    if (begin != end && stop == end && why == std::errc()) {
      check_usage(std::isfinite(scale), "--lora {}: the scale is not a finite number", text);
      spec.scale = scale;
      rest.erase(colon);
    }
  }
  check_usage(!rest.empty(), "--lora '{}': expected [high=|low=]FILE[:scale]", text);
  spec.file = rest;
  return spec;
}

}  // namespace dualparal
