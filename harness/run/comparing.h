// SPDX-License-Identifier: Apache-2.0
// `dualparal compare`, and `generate --reference-latents`: two videos given by their latents.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/json.h"
#include "model/wan/wan_model.h"

namespace CLI {
class App;
}

namespace dualparal {

using LatentShape = std::vector<int64_t>;  ///< [1, channels, frames, h, w]; -1: any

/// `psnr_db`, `ssim` and `latent_relative_error` of two safetensors files with `latents` of the same shape. Both are
/// decoded side by side, two latent frames at a time, by what load_vae gives: memory does not grow with their length.
/// Without load_vae, only the latents are compared and the others are null. frames: of the video, the surplus is cut.
nlohmann::ordered_json compare_latents(const std::filesystem::path& latents, const std::filesystem::path& reference,
                                       int64_t frames, const std::function<std::unique_ptr<Vae>()>& load_vae);

/// Error, naming the file, unless it holds `latents` of this shape.
void check_reference(const std::filesystem::path& reference, const LatentShape& shape);

/// Where a run leaves latents that are wanted for a comparison only; removed with it.
class ScratchLatents {
 public:
  ScratchLatents();
  ~ScratchLatents();
  ScratchLatents(const ScratchLatents&) = delete;
  ScratchLatents& operator=(const ScratchLatents&) = delete;
  std::string path() const { return (folder_ / "latents.safetensors").string(); }

 private:
  std::filesystem::path folder_;
};

struct CompareOptions {
  std::string model;  ///< empty: the embedded model
  bool random_weights = false;
  std::string device = "cpu", vae_dtype = "fp32";
  int64_t threads = 0;  ///< 0: LibTorch's default
  std::string latents, reference;
  std::optional<int64_t> frames;  ///< empty: as many as the latents decode to
  bool no_decode = false;
  std::string output;  ///< empty: standard output
};

void add_compare_options(CLI::App& app, CompareOptions& options);
void run_compare(CompareOptions options);

}  // namespace dualparal
