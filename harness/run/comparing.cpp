// SPDX-License-Identifier: Apache-2.0
#include "harness/run/comparing.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/data_dir.h"
#include "base/device.h"
#include "base/errors.h"
#include "base/files.h"
#include "base/finite.h"
#include "harness/media/video_file.h"
#include "harness/metrics/comparison.h"
#include "model/checkpoint/safetensors.h"

namespace dualparal {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kLatentFramesAtOnce = 2;  // bounds the memory

at::Tensor read_latents(const fs::path& file) { return read_tensor(file, "latents", {1, -1, -1, -1, -1}); }

void check_finite_from(int64_t frame, const at::Tensor& piece, const fs::path& file) {
  check_finite(piece, fmt::format("{}: tensor 'latents' from frame {} on", file.string(), frame));
}

}  // namespace

nlohmann::ordered_json compare_latents(const fs::path& latents, const fs::path& reference, int64_t frames,
                                       const std::function<std::unique_ptr<Vae>()>& load_vae) {
  const c10::InferenceMode inference;
  const at::Tensor ours = read_latents(latents);  // on mapped pages
  check_reference(reference, ours.sizes().vec());
  const at::Tensor theirs = read_latents(reference);
  const auto vae = load_vae ? load_vae() : nullptr;
  std::unique_ptr<Vae::Stream> our_stream, their_stream;
  if (vae) {
    our_stream = std::make_unique<Vae::Stream>(*vae);
    their_stream = std::make_unique<Vae::Stream>(*vae);
  }
  LatentComparison latent_comparison;
  VideoComparison video_comparison;
  int64_t compared = 0;
  for (int64_t begin = 0; begin < ours.size(2); begin += kLatentFramesAtOnce) {
    const int64_t end = std::min(begin + kLatentFramesAtOnce, ours.size(2));
    const at::Tensor our_piece = ours.slice(2, begin, end), their_piece = theirs.slice(2, begin, end);
    check_finite_from(begin, our_piece, latents);
    latent_comparison.push(our_piece, their_piece);
    if (!vae || compared == frames) continue;
    const at::Tensor our_frames = to_uint8_frames(our_stream->decode(our_piece.to(at::kFloat)));
    const at::Tensor their_frames = to_uint8_frames(their_stream->decode(their_piece.to(at::kFloat)));
    const int64_t kept = std::min(our_frames.size(0), frames - compared);
    video_comparison.push(our_frames.slice(0, 0, kept), their_frames.slice(0, 0, kept));
    compared += kept;
  }
  check(!vae || compared == frames, "{}: {} latent frames decode to {} frames, not to {}", latents.string(),
        ours.size(2), compared, frames);
  using Json = nlohmann::ordered_json;
  return {{"psnr_db", vae ? Json(video_comparison.psnr_db()) : Json(nullptr)},
          {"ssim", vae ? Json(video_comparison.ssim()) : Json(nullptr)},
          {"latent_relative_error", latent_comparison.relative_error()}};
}

void check_reference(const fs::path& reference, const LatentShape& shape) {
  const at::Tensor latents = read_tensor(reference, "latents", shape);
  for (int64_t begin = 0; begin < latents.size(2); begin += kLatentFramesAtOnce)
    check_finite_from(begin, latents.slice(2, begin, std::min(begin + kLatentFramesAtOnce, latents.size(2))),
                      reference);
}

ScratchLatents::ScratchLatents() {
  std::string pattern = (fs::temp_directory_path() / "dualparal-XXXXXX").string();
  const int not_made = mkdtemp(pattern.data()) ? 0 : errno;
  check(not_made == 0, "{}: cannot make the folder: {}", pattern, std::strerror(not_made));
  folder_ = pattern;
}

ScratchLatents::~ScratchLatents() {
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

void add_compare_options(CLI::App& app, CompareOptions& o) {
  app.add_option("latents", o.latents, "safetensors with latents, as generate --save-latents writes them")->required();
  app.add_option("--reference", o.reference, "the latents to compare with, of the same shape")->required();
  app.add_option("--model", o.model, "checkpoint whose VAE decodes both [the embedded model]");
  app.add_flag("--random-weights", o.random_weights, "random weights, as generate has them");
  app.add_option("--device", o.device, "cpu, cuda or cuda:K")->capture_default_str();
  app.add_option("--vae-dtype", o.vae_dtype, "fp32, bf16 or fp16")->capture_default_str();
  app.add_option("--threads", o.threads, "CPU threads [LibTorch's default]")->check(CLI::NonNegativeNumber);
  app.add_option("--frames", o.frames, "video frames to compare [all that the latents decode to]")
      ->check(CLI::PositiveNumber);
  app.add_flag("--no-decode", o.no_decode, "compare the latents alone");
  app.add_option("--output", o.output, "JSON file for the figures [print them]");
}

void run_compare(CompareOptions o) {
  if (o.model.empty()) o.model = embedded_model().string();
  o.model = project_path(o.model).string();
  if (o.threads > 0) at::set_num_threads(static_cast<int>(o.threads));
  const Placement placement{parse_device(o.device), parse_dtype(o.vae_dtype)};
  std::function<std::unique_ptr<Vae>()> load_vae;
  if (!o.no_decode)
    load_vae = [&] { return WanModel(o.model, o.random_weights).load_vae(placement, Vae::Parts::kDecoder); };
  const LatentGeometry geometry = read_vae_config(fs::path(o.model) / "vae" / "config.json").geometry();
  const int64_t frames = o.frames.value_or(geometry.frames(read_latents(o.latents).size(2)));
  const std::string text = compare_latents(o.latents, o.reference, frames, load_vae).dump() + "\n";
  if (o.output.empty())
    fmt::print("{}", text);
  else
    write_file(o.output, text);
}

}  // namespace dualparal
