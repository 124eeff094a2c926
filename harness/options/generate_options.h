// SPDX-License-Identifier: Apache-2.0
// The flags of `dualparal generate`.
#pragma once

#include <optional>
#include <string>

#include "base/json.h"
#include "harness/options/attention_options.h"
#include "harness/options/snapshot_options.h"
#include "strategy/options.h"

namespace CLI {
class App;
class Validator;
}  // namespace CLI

namespace dualparal {

struct ModelOptions {
  std::string dir;  ///< checkpoint folder; empty: the embedded model
  bool random_weights = false;
  std::vector<std::string> loras = {};  ///< [high=|low=]FILE[:scale], in the order in which they are merged
  std::string dtype = "fp32";           ///< of transformer and text encoder
  std::string vae_dtype = "fp32";
  std::string device = "cpu";
  std::string kernels = "auto";  ///< of CUDA devices: auto, own or aten (model/ops/kernels.h)
  int64_t threads = 0;           ///< of the CPU, per rank; 0: LibTorch's default
};

/// run: every rank a process. emulate: all ranks one after the other on one device. trace: with shapes alone.
enum class Mode { kRun, kEmulate, kTrace };
std::string mode_name(Mode mode);

/// Scenarios of a list of prompts, by MLPerf's names.
constexpr const char* kSingleStream = "single-stream";
constexpr const char* kOffline = "offline";

struct RunOptions {
  std::string strategy = "single";
  OptionValues strategy_options;  ///< as given until resolved
  Mode mode = Mode::kRun;
  int64_t nproc = 1;
  int64_t world_size = 1;                          ///< ranks of an emulated or traced run
  std::optional<int64_t> stages, guidance_degree;  ///< as given (harness/options/arrangement.h)
  bool short_traces = false;                       ///< traced: steps and blocks that are alike once (harness/shorten)
  bool stages_as_one = false;                      ///< traced: of a stage's ranks the first
  std::string backend = "gloo";
  int64_t timeout_s = 1800;
  int64_t repeats = 1;  ///< denoise as often, at least; latency is the median
  double until_interval =
      0;  ///< go on until the 95 % interval's half width is less than this part of the mean; 0: do not
  int64_t max_repeats = 20;
  std::optional<int64_t> warmup_steps;  ///< empty: some on a GPU, none on a CPU
  std::string scenario = {};  ///< of a list of prompts: single-stream or offline; empty: a result line a video
  int64_t replicas = 1;       ///< groups of ranks that share the list, each with a strategy of its own
  int64_t receive_ahead = 2;  ///< messages that a pipeline's stage receives while it computes
  bool quiet = false;
};

/// A line of --prompts.
struct TimedPrompt {
  int64_t frame = 0;  ///< of the video, from which on it is shown
  std::string text;
  int64_t line = 0;  ///< of the file
};

// In the next two, empty is what the checkpoint says (generation_defaults.json, scheduler_config.json), else Wan 2.1's
// own values.
struct VideoOptions {
  std::optional<std::string> prompt, negative_prompt;
  std::string prompt_list = {};                  ///< file with a prompt a line, a video each
  std::vector<std::string> listed_prompts = {};  ///< resolved: those of prompt_list
  std::string prompts = {};                      ///< file with prompts of one video, each from a frame on
  std::vector<TimedPrompt> timed_prompts = {};   ///< resolved: those of prompts, which `prompt` has as one text
  std::string prompt_embeds;                     ///< safetensors file, instead of the prompts
  std::string image = {}, last_image = {};       ///< PNG or JPEG, for models that make videos from an image
  std::string image_embeds = {};                 ///< safetensors file, instead of the images
  std::optional<int64_t> frames, height, width, fps;
  int64_t model_frames = 0;  ///< of the videos that the model was made for
};

struct SamplingOptions {
  std::optional<int64_t> steps;
  std::optional<double> guidance_scale, flow_shift;
  std::optional<double> guidance_scale_2 = {};  ///< of the second of two experts; empty: guidance_scale
  std::string sampler;
  uint64_t seed = 0;
  std::string initial_noise;  ///< safetensors file, instead of the seed
};

struct OutputOptions {
  std::string video;        ///< mp4
  std::string save_frames;  ///< folder for PNG files
  std::string save_latents, save_noise, save_prompt_embeds, save_image_embeds;
  std::string reference_latents;
  bool no_decode = false;
  bool overlap_decoding = false;
  bool no_quality = false;
  std::string result;    ///< file to which the result line is appended
  std::string timeline;  ///< Chrome trace
  std::string traces;    ///< folder for the ranks' traces
};

struct GenerateOptions {
  ModelOptions model;
  RunOptions run;
  AttentionOptions attention;
  VideoOptions video;
  SamplingOptions sampling;
  OutputOptions output;
  SnapshotOptions snapshots = {};
};

/// Of a run; so no more stages or replicas than that.
constexpr int64_t kMostRanks = 4096;

/// For flags: a whole number from 1 to `most`. What memory is taken for, or a process started, has a limit far beyond
/// what makes sense.
CLI::Validator positive_number(int64_t most);

/// Declares every flag, in groups, with units and defaults, on `app`.
void add_generate_options(CLI::App& app, GenerateOptions& options);

/// The resolved values, for the result line.
nlohmann::ordered_json to_json(const GenerateOptions& options);

}  // namespace dualparal
