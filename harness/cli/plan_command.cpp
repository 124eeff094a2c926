// SPDX-License-Identifier: Apache-2.0
#include "harness/cli/command.h"

#include <CLI/CLI.hpp>
#include <memory>

#include "harness/plan/plan.h"

namespace dualparal {

Command plan_command(CLI::App& program) {
  const auto options = std::make_shared<PlanOptions>();
  GenerateOptions& video = options->video;
  video.model.device = video.model.dtype = "";
  CLI::App* app = program.add_subcommand("plan", "which strategy is fastest for a video on a cluster, by simulation");
  app->add_option("model,--model", video.model.dir, "folder with a model's configurations [the embedded model]");
  app->add_option("--cluster", options->cluster, "name of one in configs/clusters/, or a YAML file")->required();
  app->add_option("--frames", video.video.frames, "video frames [from the model, else 81]");
  app->add_option("--height", video.video.height, "pixels [from the model, else 480]");
  app->add_option("--width", video.video.width, "pixels [from the model, else 832]");
  app->add_option("--size", options->size, "both: WIDTHxHEIGHT")->excludes("--height", "--width");
  app->add_option("--steps", video.sampling.steps, "denoising steps [from the model, else 50]");
  app->add_option("--dtype", video.model.dtype, "fp32, bf16 or fp16 [bf16 on GPUs, else fp32]");
  app->add_option("--device", video.model.device, "whose kernels: cpu or cuda [by the cluster]");
  app->add_option("--devices", options->devices, "of the cluster's devices, the first so many [all]");
  app->add_option("--memory-limit,--memory", options->memory_gib,
                  "GiB of a device that a rank may use [what the cluster says]");
  app->add_flag("--exact", options->exact, "only strategies that give what `single` gives");
  app->add_option("--rows", options->rows, "of the ranking")->capture_default_str()->check(positive_number(10'000));
  app->add_option("--jobs", options->jobs, "candidates at the same time [processors]")->check(positive_number(1024));
  app->add_option("--result", options->result, "file to which the simulated candidates' lines (JSON) are appended");
  app->add_flag("--quiet", video.run.quiet, "no progress");
  return {app, [options] {
            run_plan(*options);
            return 0;
          }};
}

}  // namespace dualparal
