// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/readers.h"

#include <fstream>

#include "base/errors.h"
#include "harness/media/video_file.h"
#include "harness/options/prompt_list.h"
#include "harness/options/timed_prompts.h"
#include "harness/record/results.h"
#include "harness/simulator/cluster.h"
#include "harness/snapshots/snapshot_file.h"
#include "harness/sweep/experiment.h"
#include "harness/trace/rank_trace.h"
#include "model/checkpoint/safetensors.h"
#include "model/sampling/scheduler_config.h"
#include "model/tokenizer/tokenizer.h"
#include "model/wan/config.h"
#include "model/wan/lora.h"

namespace dualparal::testing {
namespace {

namespace fs = std::filesystem;

void read_safetensors(const fs::path& folder) {
  const auto file = SafetensorsFile::open(folder / "x.safetensors");
  for (const auto& [name, entry] : file->entries()) file->tensor(name);
}

// First without its checksum, which hardly any damage passes.
void read_snapshot(const fs::path& folder) {
  read_snapshot_file(folder / "rank-0.safetensors", false);
  read_snapshot_file(folder / "rank-0.safetensors", true);
}

// A damaged configuration is refused by one reader as well as by another: all that it may belong to.
void read_configs(const fs::path& folder) {
  const auto file = folder / "config.json";
  void (*const parts[])(const fs::path&) = {[](const fs::path& path) { read_transformer_config(path); },
                                            [](const fs::path& path) { read_vae_config(path); },
                                            [](const fs::path& path) { read_text_encoder_config(path); },
                                            [](const fs::path& path) { read_scheduler_config(path); }};
  std::string first_error;
  for (const auto part : parts) {
    try {
      part(file);
    } catch (const Error& error) {
      if (first_error.empty() || std::string(error.what()).find(folder.string()) == std::string::npos)
        first_error = error.what();
    }
  }
  if (!first_error.empty()) throw Error(first_error);
}

// For one layer of a transformer that has no other.
void read_lora(const fs::path& folder) {
  const auto weights = with_loras(random_weights(1, {}), {{folder / "lora.safetensors"}});
  weights->read("blocks.0.attn1.to_q.weight", {4, 3});
  weights->read("blocks.0.attn1.to_q.bias", {4});
  weights->refuse_surplus();
}

void read_timed_prompts(const fs::path& folder) {
  GenerateOptions options;
  options.video.prompts = folder / "prompts.txt";
  resolve_timed_prompts(options);
}

void read_prompt_list(const fs::path& folder) {
  GenerateOptions options;
  options.video.prompt_list = folder / "list.txt";
  resolve_prompt_list(options);
}

void read_tokenizer(const fs::path& folder) { Tokenizer(folder).encode("a red circle bounces"); }

}  // namespace

const std::vector<Reader>& readers() {
  static const std::vector<Reader> all = {
      {"safetensors", "x.safetensors", read_safetensors},
      {"config", "config.json", read_configs},
      {"model_index", "model_index.json", [](const fs::path& folder) { check_model_index(folder); }},
      {"cluster", "cluster.yaml", [](const fs::path& folder) { read_cluster(folder / "cluster.yaml"); }},
      {"sentencepiece", "spiece.model", read_tokenizer},
      {"tokenizer_json", "tokenizer.json", read_tokenizer},
      {"results", "results.jsonl", [](const fs::path& folder) { read_results(folder / "results.jsonl"); }},
      {"snapshot", "rank-0.safetensors", read_snapshot},
      {"experiment", "e.yaml", [](const fs::path& folder) { read_experiment(folder / "e.yaml"); }},
      {"lora", "lora.safetensors", read_lora},
      {"prompts", "prompts.txt", read_timed_prompts},
      {"prompt_list", "list.txt", read_prompt_list},
      {"image", "image", [](const fs::path& folder) { read_image(folder / "image"); }},
      {"trace", "traces/rank_00000.jsonl", [](const fs::path& folder) { read_traces(folder / "traces"); }},
      {"trace_run", "traces/run.json", [](const fs::path& folder) { read_traces(folder / "traces"); }},
  };
  return all;
}

std::string fault_of(const Reader& reader, const fs::path& folder, std::string_view bytes) {
  {
    std::ofstream out(folder / reader.file, std::ios::binary | std::ios::trunc);
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  try {
    reader.read(folder);
  } catch (const Error& error) {
    const std::string text = error.what();
    if (text.find(folder.string()) == std::string::npos) return "an error that names no file: " + text;
  } catch (const std::exception& error) {
    return std::string("an exception that is none of ours: ") + error.what();
  }
  return "";
}

}  // namespace dualparal::testing
