// SPDX-License-Identifier: Apache-2.0
#include "harness/options/attention_options.h"

#include <CLI/CLI.hpp>

#include "base/errors.h"
#include "harness/options/strategies.h"
#include "model/ops/rotary.h"

namespace dualparal {
namespace {

void check_strategy(const std::string& flag, const std::string& strategy) {
  std::vector<std::string> those;
  for (const StrategyEntry& entry : strategies())
    if (entry.whole_sequence) those.push_back(entry.name);
  check_usage(
      find_strategy(strategy).whole_sequence,
      "{}: strategy '{}' attends by windows, blocks, clips or patches of the video, not to all of it in one piece; "
      "those that do: {}",
      flag, strategy, fmt::join(those, ", "));
}

using Json = nlohmann::ordered_json;

}  // namespace

void add_attention_flags(CLI::App& app, const std::string& group, AttentionOptions& o) {
  app.add_option("--sparse-attention", o.sparse,
                 "none, or lvsa: a latent frame sees its neighbours and some frames of the whole video; for strategies "
                 "that attend to the whole video")
      ->capture_default_str()
      ->group(group);
  app.add_option("--sparse-window", o.sparse_window, "lvsa: latent frames seen to either side [3]")
      ->check(CLI::NonNegativeNumber)
      ->group(group);
  app.add_option("--sparse-global-every", o.global_every,
                 "lvsa: distance of the latent frames that all see, moved on by one in every step [such that a frame "
                 "sees about as many frames as the model was trained on]")
      ->check(CLI::PositiveNumber)
      ->group(group);
  app.add_option(
         "--rope-riflex", o.riflex,
         "on: lower one temporal frequency of the rotary embedding so that a video longer than those trained on "
         "stays within its period; off; for strategies that attend to the whole video")
      ->capture_default_str()
      ->group(group);
  app.add_option("--rope-riflex-index", o.riflex_index,
                 "which, the highest is 1 [the highest whose period is no shorter than videos trained on]")
      ->check(CLI::PositiveNumber)
      ->group(group);
}

void resolve_attention(AttentionOptions& o, const AttentionSetting& setting) {
  check_usage(o.sparse == "none" || o.sparse == "lvsa", "--sparse-attention: expected none or lvsa, got '{}'",
              o.sparse);
  check_usage(o.riflex == "on" || o.riflex == "off", "--rope-riflex: expected on or off, got '{}'", o.riflex);
  check_usage(o.sparse != "none" || (!o.sparse_window && !o.global_every),
              "--sparse-window and --sparse-global-every need --sparse-attention lvsa");
  check_usage(o.riflex == "on" || !o.riflex_index, "--rope-riflex-index needs --rope-riflex on");
  if (o.sparse == "lvsa") {
    check_strategy("--sparse-attention lvsa", setting.strategy);
    const int64_t window = o.sparse_window.value_or(Lvsa().window);
    o.lvsa = {window,
              o.global_every.value_or(lvsa_global_every(setting.latent_frames, window, setting.trained_frames))};
  }
  if (o.riflex == "on") {
    check_strategy("--rope-riflex on", setting.strategy);
    const int64_t frequencies = temporal_frequencies(setting.head_dim);
    check_usage(!o.riflex_index || *o.riflex_index <= frequencies,
                "--rope-riflex-index: expected 1 to {}, the model's temporal frequencies, got {}", frequencies,
                o.riflex_index.value_or(0));
    // Of a video that is no longer than those trained on, no frequency is changed.
    if (setting.latent_frames > setting.trained_frames)
      o.riflex_frequency = o.riflex_index.value_or(riflex_index(setting.head_dim, setting.trained_frames));
  }
}

void set_attention(Request& request, const AttentionOptions& o) {
  request.sparse_attention = o.lvsa;
  request.riflex = {o.riflex_frequency, request.latent_frames};
}

OptionValues attention_values(const AttentionOptions& o) {
  OptionValues values;
  if (o.sparse != "none") {
    values["sparse-attention"] = o.sparse;
    if (o.sparse_window) values["sparse-window"] = std::to_string(*o.sparse_window);
    if (o.global_every) values["sparse-global-every"] = std::to_string(*o.global_every);
  }
  if (o.riflex != "off") {
    values["rope-riflex"] = o.riflex;
    if (o.riflex_index) values["rope-riflex-index"] = std::to_string(*o.riflex_index);
  }
  return values;
}

nlohmann::ordered_json to_json(const AttentionOptions& o) {
  return {{"sparse_attention", o.sparse},
          {"sparse_window", o.lvsa ? Json(o.lvsa->window) : Json(nullptr)},
          {"sparse_global_every", o.lvsa ? Json(o.lvsa->global_every) : Json(nullptr)},
          {"rope_riflex", o.riflex},
          {"rope_riflex_index", o.riflex == "on" ? Json(o.riflex_frequency) : Json(nullptr)}};
}

}  // namespace dualparal
