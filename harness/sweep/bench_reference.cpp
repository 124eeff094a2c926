// SPDX-License-Identifier: Apache-2.0
#include "harness/sweep/bench_reference.h"

#include <fmt/format.h>

#include "base/data_dir.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/parse_json.h"
#include "harness/record/provenance.h"
#include "harness/sweep/child_process.h"

namespace dualparal {
namespace fs = std::filesystem;
namespace {

// What decides, with the noise, which video `single` makes.
constexpr const char* kVideoFlags[] = {"model",
                                       "random-weights",
                                       "prompt",
                                       "negative-prompt",
                                       "prompt-embeds",
                                       "frames",
                                       "height",
                                       "width",
                                       "steps",
                                       "guidance-scale",
                                       "flow-shift",
                                       "sampler",
                                       "seed",
                                       "dtype",
                                       "device",
                                       "lora",
                                       "guidance-scale-2",
                                       "image",
                                       "last-image",
                                       "image-embeds",
                                       "sparse-window",
                                       "sparse-global-every",
                                       "rope-riflex",
                                       "rope-riflex-index",
                                       "sparse-attention"};

void append(std::vector<std::string>& arguments, const Flags& flags, const std::string& name) {
  const auto found = flags.find(name);
  if (found == flags.end() || found->second == "false") return;
  arguments.push_back("--" + name);
  if (found->second != "true") arguments.push_back(found->second);
}

// Changes when a file of the model does.
std::string state_of(const fs::path& model) {
  std::map<std::string, std::string> files;
  if (fs::is_directory(model))
    for (const auto& file : fs::recursive_directory_iterator(model))
      if (file.is_regular_file())
        files[file.path().string()] =
            fmt::format("{} {}", file.file_size(), file.last_write_time().time_since_epoch().count());
  std::string text;
  for (const auto& [name, state] : files) text += name + " " + state + "\n";
  return text;
}

}  // namespace

References::References(const fs::path& folder, bool quiet)
    : folder_(folder / ".references"),
      latents_(folder_ / "point.latents"),
      noise_(folder_ / "point.noise"),
      figures_(folder_ / "point.json"),
      quiet_(quiet) {}

std::vector<std::string> References::arguments() const {
  return {"--save-latents", latents_.string(), "--save-noise", noise_.string()};
}

std::string References::key(const Point& point) const {
  std::string text = program_hash() + read_file(noise_);
  for (const char* name : kVideoFlags)
    if (const auto found = point.flags.find(name); found != point.flags.end())
      text += fmt::format("\n{}={}", name, found->second);
  const auto model = point.flags.find("model");
  text += state_of(model == point.flags.end() ? embedded_model() : project_path(model->second));
  const auto embeds = point.flags.find("prompt-embeds");
  if (embeds != point.flags.end()) text += read_file(embeds->second);
  return text_hash(text);
}

// Empty, or why there is no reference.
std::string References::make(const Point& point, const fs::path& reference) const {
  std::vector<std::string> arguments{"generate", "--strategy", "single"};
  for (const char* name : kVideoFlags) append(arguments, point.flags, name);
  append(arguments, point.flags, "threads");
  arguments.insert(arguments.end(), {"--initial-noise", noise_.string(), "--no-decode", "--no-quality",
                                     "--save-latents", reference.string()});
  if (!quiet_) fmt::print(stderr, "# its reference: single, from the same noise\n");
  const auto child = run_self(arguments, quiet_);
  return child.exit_code == 0 ? "" : child.error;
}

std::string References::compare(const Point& point, const fs::path& reference, ResultLine& line) const {
  std::vector<std::string> arguments{"compare",  latents_.string(), "--reference", reference.string(),
                                     "--output", figures_.string(), "--frames",    std::to_string(*line.frames)};
  for (const char* name : {"model", "random-weights", "device", "vae-dtype", "threads"})
    append(arguments, point.flags, name);
  const auto decoded = point.flags.find("no-decode");
  if (!point.reference || (decoded != point.flags.end() && decoded->second != "false"))
    arguments.push_back("--no-decode");
  const auto child = run_self(arguments, quiet_);
  if (child.exit_code != 0) return child.error;
  const auto figures = parse_json<nlohmann::ordered_json>(read_file(figures_));
  if (point.reference) line.quality.update(figures);
  if (!point.checked) return "";
  line.error_vs_single = figures.at("latent_relative_error").get<double>();
  const double most = largest_error(line.dtype.value_or("fp32"));
  if (*line.error_vs_single <= most) return "";
  line.status = ResultStatus::kFailed;
  line.error = fmt::format(
      "wrong result: latents differ from single's by {:.3g} (|difference| / |single's|), expected at most {:g} in {}",
      *line.error_vs_single, most, *line.dtype);
  return "";
}

void References::fill(ResultLine& line, const Point& point) {
  const std::string id = key(point);
  const fs::path reference = folder_ / (id + ".safetensors");
  if (point.gives_reference && !point.reference) {
    fs::rename(latents_, reference);
  } else {
    if (!failures_.contains(id) && !fs::exists(reference))
      if (const std::string error = make(point, reference); !error.empty()) failures_[id] = error;
    const auto failed = failures_.find(id);
    const std::string error =
        failed != failures_.end() ? "single did not run: " + failed->second : compare(point, reference, line);
    if (!error.empty()) {
      if (line.quality.is_null()) line.quality = nlohmann::ordered_json::object();
      line.quality["reference_error"] = error;
    }
  }
  for (const auto& file : {latents_, noise_, figures_}) fs::remove(file);
}

void References::remove() { fs::remove_all(folder_); }

double largest_error(const std::string& dtype) { return dtype == "fp32" ? 1e-4 : dtype == "fp16" ? 1e-2 : 1e-1; }

}  // namespace dualparal
