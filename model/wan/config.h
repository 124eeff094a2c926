// SPDX-License-Identifier: Apache-2.0
// Configurations of the parts of a Wan 2.1 or 2.2 checkpoint, as diffusers and transformers write them (config.json).
// Field names are those of the files. Reading throws Error that names file, key, expected and got: a key or a
// value that this program does not know is refused, never guessed.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "model/wan/geometry.h"

namespace dualparal {

/// transformer/config.json of WanTransformer3DModel.
struct TransformerConfig {
  std::array<int64_t, 3> patch_size{1, 2, 2};  ///< frames, height, width
  int64_t num_attention_heads = 0;
  int64_t attention_head_dim = 0;
  int64_t in_channels = 16;  ///< with an image: latents, mask and condition side by side
  int64_t out_channels = 16;
  int64_t text_dim = 0;
  int64_t freq_dim = 256;
  int64_t ffn_dim = 0;
  int64_t num_layers = 0;
  bool cross_attn_norm = true;
  double eps = 1e-6;
  int64_t rope_max_seq_len = 1024;
  int64_t image_dim = 0;          ///< of an image encoder's embeddings that cross-attention sees; 0: none
  int64_t added_kv_proj_dim = 0;  ///< of their projections; with image_dim only
  int64_t pos_embed_seq_len = 0;  ///< tokens of the embeddings of a first and a last image; 0: of one image

  int64_t dim() const { return num_attention_heads * attention_head_dim; }
  /// Channels of mask and encoded image beside the latents.
  int64_t condition_channels() const { return in_channels - out_channels; }
  bool operator==(const TransformerConfig&) const = default;
};

/// vae/config.json of AutoencoderKLWan: Wan 2.1's, or Wan 2.2's with shortcuts around changes of size (is_residual) and
/// pixels taken in patches.
struct VaeConfig {
  int64_t base_dim = 96;
  int64_t decoder_base_dim = 0;  ///< 0: base_dim
  int64_t z_dim = 16;
  std::vector<int64_t> dim_mult{1, 2, 4, 4};
  int64_t num_res_blocks = 2;
  std::vector<bool> temporal_downsample{false, true, true};  ///< `temperal_downsample` in the file
  std::vector<double> latents_mean;                          ///< [z_dim]
  std::vector<double> latents_std;                           ///< [z_dim]
  bool is_residual = false;
  int64_t patch_size = 1;  ///< pixels along height and width that are the channels of one position

  /// Channels of the decoder at its largest height and width.
  int64_t decoder_dim() const { return decoder_base_dim > 0 ? decoder_base_dim : base_dim; }
  /// Channels of a position that goes into the encoder, or comes out of the decoder.
  int64_t pixel_channels() const { return 3 * patch_size * patch_size; }
  LatentGeometry geometry() const { return {z_dim, temporal_stride(), spatial_stride()}; }
  /// Pixels per latent position along height and width.
  int64_t spatial_stride() const { return patch_size << (dim_mult.size() - 1); }
  /// Frames per latent frame, the first one apart.
  int64_t temporal_stride() const;
};

/// text_encoder/config.json of UMT5EncoderModel.
struct TextEncoderConfig {
  int64_t d_model = 0;
  int64_t d_kv = 0;
  int64_t d_ff = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t vocab_size = 0;
  int64_t relative_attention_num_buckets = 32;
  int64_t relative_attention_max_distance = 128;
  double layer_norm_epsilon = 1e-6;
};

TransformerConfig read_transformer_config(const std::filesystem::path& file);
VaeConfig read_vae_config(const std::filesystem::path& file);
TextEncoderConfig read_text_encoder_config(const std::filesystem::path& file);

/// model_index.json of a WanPipeline or WanImageToVideoPipeline.
struct ModelIndex {
  bool from_image = false;     ///< WanImageToVideoPipeline
  bool image_encoder = false;  ///< there is one (Wan 2.1)
  /// A timestep per token: an image can be given as the video's first latent frame (Wan 2.2 TI2V-5B).
  bool expand_timesteps = false;
  /// Two experts: transformer while t >= boundary_ratio x num_train_timesteps, then transformer_2. 0: one transformer.
  double boundary_ratio = 0;
};

/// Refuses a folder whose model_index.json names parts that this program does not read.
ModelIndex check_model_index(const std::filesystem::path& model_dir);

}  // namespace dualparal
