// SPDX-License-Identifier: Apache-2.0
// What a strategy will do with a run, said before it: which layers each rank holds, what self-attention sees, which
// messages travel. Links and cost follow from it, and recorded figures are held against it.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "comm/communicator.h"
#include "model/wan/transformer.h"
#include "strategy/denoise/request.h"
#include "strategy/parallel/slots.h"

namespace dualparal {

/// The sizes of a run, of which a plan is made.
struct Workload {
  TransformerConfig config;
  int64_t world_size = 1;
  int64_t videos = 1;         ///< one behind the other; more than one for strategies that queue videos
  int64_t latent_frames = 0;  ///< of each video
  int64_t steps = 0;
  int64_t batch = 1;           ///< 2 with guidance
  int64_t frame_tokens = 0;    ///< of one latent frame
  int64_t tokens = 0;          ///< of a whole video
  int64_t element_bytes = 4;   ///< of hidden states, keys and values
  int64_t patch_channels = 0;  ///< numbers in a token's prediction
  int64_t experts = 1;         ///< transformers, of which each rank holds its layers
  /// Features of this and later steps are of another kind than those of earlier ones: another expert's.
  int64_t features_change_at = 0;
  int64_t text_tokens = 0, image_tokens = 0;  ///< that cross-attention sees
  bool from_image = false;  ///< frames of the video are conditioned on an image, or are one, at their places
  at::DeviceType device =
      at::kCPU;  ///< what all ranks compute on: where the layers' parts cost the same is chosen by it

  bool guided() const { return batch > 1; }
  /// Hidden states of so many tokens, all guidance halves.
  double hidden_bytes(double count) const { return static_cast<double>(batch * config.dim() * element_bytes) * count; }
  /// The guided prediction of so many tokens, fp32.
  double prediction_bytes(double count) const { return 4 * static_cast<double>(patch_channels) * count; }
  /// Weights of a rank with these layers, whole or in part.
  double weights_bytes(const LayerRange& held) const;
};

Workload workload(const Request& request, const TransformerConfig& config, int64_t element_bytes, int64_t world_size);

/// All that one rank sends another over a channel, in the whole run.
struct Traffic {
  Link link;
  double bytes = 0;
};

struct StrategyPlan {
  std::vector<TransformerParts> parts = {};  ///< by rank: the layers that it holds
  /// Tokens whose keys and values one layer's self-attention holds on a rank at a time, at most (of all guidance
  /// halves: a rank that computes one half of two holds half of them).
  double key_value_tokens = 0;
  std::vector<Traffic> traffic = {};       ///< nothing else may be sent while denoising
  std::vector<int64_t> block_starts = {};  ///< latent frames at which blocks or clips begin, but for 0; none: one piece
  std::optional<SlotCount> slots = {};     ///< idle slots to expect of a pipeline of ranks; none: it is no pipeline

  /// Every link that any rank sends over, each once, in the same order on all ranks: Communicator::connect gets them
  /// before the clock starts.
  std::vector<Link> links() const;
  /// Of so many such runs, each begun when the one before is finished.
  StrategyPlan repeated(int64_t times) const;
};

/// The same parts on every rank: all layers.
std::vector<TransformerParts> whole_model(const Workload& work);

struct AnalyticCost {
  double sent_bytes = 0;       ///< by all ranks, in the whole run
  double weights_bytes = 0;    ///< on the rank that holds most
  double key_value_bytes = 0;  ///< keys and values of one layer's self-attention on a rank at a time, at most
};

AnalyticCost analytic_cost(const StrategyPlan& plan, const Workload& work);

}  // namespace dualparal
