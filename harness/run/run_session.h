// SPDX-License-Identifier: Apache-2.0
// One rank's run, from the options to the result line.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "comm/rank_group.h"
#include "harness/options/generate_options.h"
#include "harness/options/replicas.h"
#include "harness/record/result_line.h"
#include "harness/run/comparing.h"
#include "harness/run/rank_run.h"
#include "harness/run/run_output.h"
#include "harness/snapshots/run_snapshots.h"

namespace dualparal {

/// What stays loaded from one prompt of a list to the next.
struct KeptModel {
  std::vector<std::unique_ptr<Transformer>> transformers = {};
  std::map<std::string, PromptEmbeds> embeds = {};  ///< by prompt, on rank 0: the text encoder is loaded once for all
  double text_encode_s = 0;                         ///< for each of them
  int64_t text_peak_bytes = 0;
};

class RunSession {
 public:
  /// All must outlive it. model: the one that the options name. kept: of a list of prompts, else null.
  RunSession(const GenerateOptions& options, const WanModel& model, Recorder& recorder, RankGroup& group,
             const at::Device& device, KeptModel* kept = nullptr);

  /// The result line on rank 0, none on the others.
  std::optional<ResultLine> run();
  /// Iterations after which an endless run was told to stop; none: it was no such run.
  std::optional<int64_t> stopped_after() const { return own_.stopped_after; }

 private:
  void prepare();
  void condition();
  void denoise();
  std::optional<ResultLine> finish();

  /// What each replica's first rank makes of its videos.
  struct Made {
    double decode_s = 0;
    int64_t decode_peak_memory_bytes = 0;
    std::vector<nlohmann::ordered_json> qualities = {};  ///< by video
  };

  void open_snapshots();
  void open_output();
  void set_image();
  PromptEmbeds encode_prompt();
  PromptEmbeds encode_timed_prompts(std::vector<at::Tensor>& later);
  void set_prompts(PromptEmbeds embeds);
  void set_later_prompts(std::vector<at::Tensor> embeds);
  void set_following();
  Made finish_output();
  ResultLine result_line(const std::vector<RankTrace>& traces, const Made& made);
  void set_endless(ResultLine& line) const;
  bool leads() const { return group_.rank() == 0; }
  bool makes_videos() const { return comm_.rank() == 0; }  // the first rank of a replica

  const GenerateOptions& options_;
  Recorder& recorder_;
  RankGroup& group_;
  std::vector<Replica> replicas_;
  const Replica& replica_;  // this rank's
  Communicator& comm_;      // its ranks
  at::Device device_;
  Placement placement_;
  Stopwatch total_;
  const WanModel& model_;
  KeptModel* kept_;
  std::unique_ptr<Strategy> strategy_;
  Request request_;
  std::vector<Request> following_;        // of a list in a scenario: the videos of this replica behind its first
  std::vector<ReplicaPlan> plans_;        // of all replicas
  const ReplicaPlan* planned_ = nullptr;  // of this one

  std::function<std::unique_ptr<Vae>()> load_vae_;
  std::unique_ptr<ScratchLatents> scratch_;  // for latents that nobody asked to keep
  std::string latents_path_;
  std::unique_ptr<RunOutput> output_;  // on a replica's first rank
  std::unique_ptr<RunSnapshots> snapshots_;

  nlohmann::ordered_json gpu_state_;  // when denoising was done
  double load_before_;                // of the machine, when the run began
  double text_encode_s_ = 0;
  int64_t text_peak_bytes_ = 0;
  RankResult own_;
};

}  // namespace dualparal
