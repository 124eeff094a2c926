// SPDX-License-Identifier: Apache-2.0
#include "model/wan/tokenizer.h"

#include <sentencepiece_processor.h>

#include "base/errors.h"
#include "base/files.h"
#include "base/parse_json.h"
#include "model/wan/prompt_cleaning.h"

// libc10 and Debian's libsentencepiece both export a variable of this name: an int there, an absl::Flag of 32 bytes
// here. The dynamic linker makes them one, and the larger would be written over libc10's variables behind the smaller
// (among them the one that makes every failed allocation abort). The program's own comes first and is large enough.
extern "C" {
[[gnu::visibility("default"), gnu::used]] alignas(64) char FLAGS_minloglevel[64] = {};
}

namespace dualparal {

Tokenizer::Tokenizer(const std::filesystem::path& dir)
    : processor_(std::make_unique<sentencepiece::SentencePieceProcessor>()) {
  const auto model = dir / "spiece.model";
  check(std::filesystem::exists(model), "{}: no such file (the tokenizer's sentencepiece model)", model.string());
  const std::string other = no_file(model);
  check(other.empty(), "{}: expected a file, this is {}", model.string(), other);
  const auto status = processor_->Load(model.string());
  check(status.ok(), "{}: not a sentencepiece model: {}", model.string(), status.ToString());
  end_token_ = processor_->eos_id();
  check(end_token_ >= 0, "{}: the sentencepiece model has no end-of-sentence token", model.string());
  const auto config = dir / "tokenizer_config.json";
  if (!std::filesystem::exists(config)) return;
  try {
    const auto json = parse_json(read_file(config));
    if (json.contains("model_max_length") && json["model_max_length"].is_number())
      // "No limit" is written as an absurdly large number.
      max_length_ = static_cast<int64_t>(std::min(512.0, json["model_max_length"].get<double>()));
  } catch (const nlohmann::json::exception& error) {
    fail("{}: not valid JSON: {}", config.string(), error.what());
  }
  check(max_length_ > 0, "{}: 'model_max_length' expected a positive number", config.string());
}

Tokenizer::~Tokenizer() = default;

std::vector<int64_t> Tokenizer::encode(const std::string& prompt) const {
  std::vector<int> pieces;
  const auto status = processor_->Encode(clean_prompt(prompt), &pieces);
  check(status.ok(), "the prompt cannot be tokenized: {}", status.ToString());
  std::vector<int64_t> ids(pieces.begin(), pieces.end());
  if (static_cast<int64_t>(ids.size()) > max_length_ - 1) ids.resize(max_length_ - 1);
  ids.push_back(end_token_);
  return ids;
}

int64_t Tokenizer::vocabulary_size() const { return processor_->GetPieceSize(); }

}  // namespace dualparal
