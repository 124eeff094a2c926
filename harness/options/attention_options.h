// SPDX-License-Identifier: Apache-2.0
// Flags of `dualparal generate` that change what whole-sequence strategies attend to, and at which positions.
#pragma once

#include <optional>
#include <string>

#include "base/json.h"
#include "strategy/denoise/request.h"
#include "strategy/options.h"

namespace CLI {
class App;
}

namespace dualparal {

struct AttentionOptions {
  std::string sparse = "none";
  std::optional<int64_t> sparse_window;  ///< latent frames to either side; empty: 3
  std::optional<int64_t> global_every;   ///< latent frames; empty: as many see each other as the model was trained on
  std::string riflex = "off";
  std::optional<int64_t> riflex_index;  ///< empty: by the length that the model was trained on

  // Resolved:
  std::optional<Lvsa> lvsa = {};
  int64_t riflex_frequency = 0;  ///< 0: none is changed
};

/// What must be known to resolve them.
struct AttentionSetting {
  std::string strategy;
  int64_t latent_frames = 0;
  int64_t trained_frames = 0;  ///< latent frames that the model was made for
  int64_t head_dim = 0;
};

void add_attention_flags(CLI::App& app, const std::string& group, AttentionOptions& options);

/// Works out what was left open. UsageError for values that cannot be, for a flag without the one that it belongs to,
/// and for a strategy that does not take the whole sequence at once.
void resolve_attention(AttentionOptions& options, const AttentionSetting& setting);

/// Tells the request what was resolved.
void set_attention(Request& request, const AttentionOptions& options);

/// What was given, by flag, beside the strategy's own options in the result line: what differs is another row of
/// reports.
OptionValues attention_values(const AttentionOptions& options);

nlohmann::ordered_json to_json(const AttentionOptions& options);

}  // namespace dualparal
