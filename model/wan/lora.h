// SPDX-License-Identifier: Apache-2.0
// LoRA files: small changes of a transformer's weights, merged into them when they are read. Nothing of them is left at
// run time, and a rank merges only the layers that it holds.
//   W <- W + scale x alpha / rank x up x down     (alpha / rank is 1 where the file has no alpha)
//   W <- W + scale x diff, b <- b + scale x diff_b
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "model/checkpoint/weights.h"

namespace dualparal {

/// The flag --lora [high=|low=]FILE[:scale].
struct LoraSpec {
  std::filesystem::path file;
  double scale = 1.0;
  std::string expert = "";  ///< "high" or "low": one of two experts; empty: every transformer that there is
};

/// UsageError for another form. A file whose own name ends in a colon and a number needs ":1" behind it.
LoraSpec parse_lora(const std::string& text);

/// A tensor's name in a LoRA file, taken apart.
struct LoraName {
  std::string module;  ///< as diffusers names it: blocks.0.attn1.to_q
  std::string part;    ///< down, up, alpha, diff, diff_b, up_bias
};

/// Understands the names of diffusers and PEFT (transformer.blocks.0.attn1.to_q.lora_A.weight), of the original Wan
/// program and ComfyUI (diffusion_model.blocks.0.self_attn.q.lora_down.weight) and of Kohya's trainers
/// (lora_unet_blocks_0_self_attn_q.lora_down.weight). Error that names file and tensor for any other.
LoraName lora_name(const std::filesystem::path& file, const std::string& name);

/// `inner`, with the files merged in what is read, in fp32, in their order. Error for a tensor of another shape, one
/// half of a pair without the other, numbers that are not finite; refuse_surplus() names those that change nothing.
std::unique_ptr<WeightSource> with_loras(std::unique_ptr<WeightSource> inner, const std::vector<LoraSpec>& loras);

}  // namespace dualparal
