// SPDX-License-Identifier: Apache-2.0
#include "harness/sweep/bench_reference.h"

#include <fmt/format.h>

#include "base/data_dir.h"
#include "base/files.h"
#include "base/hash.h"
#include "harness/sweep/child_process.h"

namespace dualparal {
namespace fs = std::filesystem;
namespace {

// What decides, with the noise, which video `single` makes.
constexpr const char* kVideoFlags[] = {"model",      "random-weights", "prompt", "negative-prompt", "prompt-embeds",
                                       "frames",     "height",         "width",  "steps",           "guidance-scale",
                                       "flow-shift", "sampler",        "seed",   "dtype",           "device"};

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
  std::string text = read_file(noise_);
  for (const char* name : kVideoFlags)
    if (const auto found = point.flags.find(name); found != point.flags.end())
      text += fmt::format("\n{}={}", name, found->second);
  const auto model = point.flags.find("model");
  text += state_of(model == point.flags.end() ? data_dir() / "models" / "moving-shapes" : fs::path(model->second));
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

std::string References::compare(const Point& point, const fs::path& reference, nlohmann::ordered_json& record) const {
  std::vector<std::string> arguments{"compare",  latents_.string(), "--reference", reference.string(),
                                     "--output", figures_.string(), "--frames",    record["frames"].dump()};
  for (const char* name : {"model", "random-weights", "device", "vae-dtype", "threads", "no-decode"})
    append(arguments, point.flags, name);
  const auto child = run_self(arguments, quiet_);
  if (child.exit_code != 0) return child.error;
  record["quality"].update(nlohmann::ordered_json::parse(read_file(figures_)));
  return "";
}

void References::fill(nlohmann::ordered_json& record, const Point& point) {
  const std::string id = key(point);
  const fs::path reference = folder_ / (id + ".safetensors");
  if (!failures_.contains(id) && !fs::exists(reference))
    if (const std::string error = make(point, reference); !error.empty()) failures_[id] = error;
  const auto failed = failures_.find(id);
  const std::string error =
      failed != failures_.end() ? "single did not run: " + failed->second : compare(point, reference, record);
  if (!error.empty()) record["quality"]["reference_error"] = error;
  for (const auto& file : {latents_, noise_, figures_}) fs::remove(file);
}

void References::remove() { fs::remove_all(folder_); }

}  // namespace dualparal
