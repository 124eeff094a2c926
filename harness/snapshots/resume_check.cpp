// SPDX-License-Identifier: Apache-2.0
#include "harness/snapshots/resume_check.h"

#include <zlib.h>

#include <algorithm>
#include <fstream>

#include "base/device.h"
#include "base/errors.h"
#include "base/hash.h"
#include "harness/snapshots/snapshot_folder.h"
#include "model/wan/lora.h"

namespace dualparal {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::ordered_json;

// Other values share the work otherwise, or change what becomes of the latents.
const std::vector<std::string> kFree{"nproc",          "mode",        "world_size",   "device",           "backend",
                                     "threads",        "fps",         "no_decode",    "overlap_decoding", "repeats",
                                     "until_interval", "max_repeats", "warmup_steps", "receive_ahead"};
const std::vector<std::string> kFreeOfStrategies{"partition",      "sequence-degree", "guidance-parallel",
                                                 "ulysses-degree", "ring-degree",     "cache-memory"};

// Size and samples of a file, all over it: tens of gigabytes are not read twice.
std::string contents(const fs::path& file) {
  constexpr uintmax_t kSample = 1 << 14, kSamples = 64;
  std::error_code error;
  const uintmax_t size = fs::file_size(file, error);
  if (error) return "";
  std::ifstream in(file, std::ios::binary);
  std::string buffer(kSample, '\0');
  uLong sum = crc32_z(0, nullptr, 0);
  const uintmax_t steps = std::min(kSamples, (size + kSample - 1) / kSample);
  for (uintmax_t i = 0; i < steps; ++i) {
    in.seekg(static_cast<std::streamoff>(steps > 1 ? (size - std::min(size, kSample)) / (steps - 1) * i : 0));
    in.read(buffer.data(), static_cast<std::streamsize>(buffer.size()));
    sum = crc32_z(sum, reinterpret_cast<const Bytef*>(buffer.data()), static_cast<size_t>(in.gcount()));
    in.clear();
  }
  return fmt::format("{}-{:08x}", size, sum);
}

Json file_identity(const std::string& file) {
  if (file.empty()) return nullptr;
  return {{"file", file}, {"contents", contents(file)}};
}

Json model_identity(const std::string& folder, bool with_vae) {
  std::vector<std::string> parts;
  std::error_code error;
  for (const auto& entry :
       fs::recursive_directory_iterator(folder, fs::directory_options::follow_directory_symlink, error)) {
    const std::string kind = entry.path().extension();
    const fs::path name = entry.path().lexically_relative(folder);
    if ((*name.begin() == "vae" && !with_vae) || (kind != ".json" && kind != ".safetensors" && kind != ".model"))
      continue;
    parts.push_back(name.string() + " " + contents(entry.path()));
  }
  std::ranges::sort(parts);
  return {{"file", folder}, {"contents", text_hash(fmt::format("{}", fmt::join(parts, "\n")))}};
}

bool same(const Json& kept, const Json& given) {
  const bool files = kept.is_object() && given.is_object() && kept.contains("contents") && given.contains("contents");
  return files ? kept["contents"] == given["contents"] : kept == given;
}

std::string shown(const Json& value) {
  if (value.is_null() || value == "") return "none";
  if (!value.is_object() || !value.contains("contents")) return value.dump();
  return fmt::format("{} (contents {})", value["file"].get<std::string>(), value["contents"].get<std::string>());
}

}  // namespace

Json run_identity(const GenerateOptions& options) {
  Json identity = to_json(options);
  for (const auto& name : kFree) identity.erase(name);
  identity["device"] = named_device(options.model.device).is_cuda() ? "cuda" : "cpu";
  // The VAE changes what becomes of the latents, and nothing else unless it encodes an image.
  const bool encodes = !options.video.image.empty() || !options.video.last_image.empty();
  if (!encodes) identity.erase("vae_dtype");
  identity["model"] = model_identity(options.model.dir, encodes);
  for (Json& lora : identity["lora"]) lora["file"] = contents(lora["file"].get<std::string>());
  for (const char* file : {"prompt_embeds", "image", "last_image", "image_embeds", "initial_noise"})
    identity[file] = file_identity(identity[file].get<std::string>());
  // Options that strategies and attention declare stand beside the others: their names are flags, too.
  for (const char* group : {"strategy_options", "attention"}) {
    const Json own = identity[group];
    identity.erase(group);
    for (const auto& [name, value] : own.items())
      if (std::ranges::find(kFreeOfStrategies, name) == kFreeOfStrategies.end()) identity[name] = value;
  }
  return identity;
}

void check_same_run(const fs::path& folder, const Json& kept, const Json& given) {
  std::vector<std::string> differences;
  const auto compare = [&](const std::string& name, const Json& one, const Json& other) {
    if (same(one, other)) return;
    std::string flag = "--" + name;
    std::ranges::replace(flag, '_', '-');
    differences.push_back(fmt::format("{}: kept {}, given {}", flag, shown(one), shown(other)));
  };
  for (const auto& [name, value] : given.items()) compare(name, kept.contains(name) ? kept[name] : Json(), value);
  for (const auto& [name, value] : kept.items())
    if (!given.contains(name)) compare(name, value, Json());
  check_usage(differences.empty(), "--resume {}: its snapshots are of another run: {}", folder.string(),
              fmt::join(differences, "; "));
}

std::optional<int64_t> check_snapshot_folder(const GenerateOptions& options) {
  const SnapshotFolder folder(options.snapshots.folder);
  for (const int64_t done : folder.begun()) {
    if (!folder.complete(done)) continue;
    check_usage(options.snapshots.resume,
                "--snapshot {}: there are snapshots of an earlier run in it; --resume {} goes on from them, or give "
                "another folder",
                options.snapshots.folder, options.snapshots.folder);
    try {
      const auto about = read_snapshot_file(folder.rank_file(done, 0), /*verify=*/false).about;
      check_same_run(options.snapshots.folder, about.at("run"), run_identity(options));
      return about.at("world_size").get<int64_t>();
    } catch (const UsageError&) {
      throw;
    } catch (const std::exception&) {
      // Damaged: rank 0 will say so, and take another one.
    }
  }
  check_usage(!options.snapshots.must_resume, "--resume {}: there is no snapshot in it", options.snapshots.folder);
  return std::nullopt;
}

}  // namespace dualparal
