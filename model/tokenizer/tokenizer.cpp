// SPDX-License-Identifier: Apache-2.0
#include "model/tokenizer/tokenizer.h"

#include <sentencepiece_processor.h>

#include "base/errors.h"
#include "base/files.h"
#include "base/parse_json.h"
#include "model/tokenizer/character_map.h"
#include "model/tokenizer/prompt_cleaning.h"
#include "model/tokenizer/text_length.h"
#include "model/tokenizer/unigram_model.h"

// libc10 and Debian's libsentencepiece both export a variable of this name: an int there, an absl::Flag of 32 bytes
// here. The dynamic linker makes them one, and the larger would be written over libc10's variables behind the smaller
// (among them the one that makes every failed allocation abort). The program's own comes first and is large enough.
extern "C" {
[[gnu::visibility("default"), gnu::used]] alignas(64) char FLAGS_minloglevel[64] = {};
}

namespace dualparal {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kWanTextLength = 512;
constexpr const char* kSentencepieceFile = "spiece.model";
constexpr const char* kTokenizersFile = "tokenizer.json";

void load(sentencepiece::SentencePieceProcessor& processor, const std::string& model) {
  const auto status = processor.LoadFromSerializedProto(model);
  check(status.ok(), "{}", status.ToString());
}

}  // namespace

Tokenizer::Tokenizer(const fs::path& dir) : processor_(std::make_unique<sentencepiece::SentencePieceProcessor>()) {
  if (fs::exists(dir / kSentencepieceFile))
    read_sentencepiece(dir / kSentencepieceFile);
  else if (fs::exists(dir / kTokenizersFile))
    read_tokenizers(dir / kTokenizersFile);
  else
    fail("{}: no tokenizer, expected {} or {} in this folder (--prompt-embeds FILE does without)", dir.string(),
         kSentencepieceFile, kTokenizersFile);
  max_length_ = text_length(dir);
}

int64_t text_length(const fs::path& dir) {
  const auto config = dir / "tokenizer_config.json";
  int64_t length = kWanTextLength;
  if (!fs::exists(config)) return length;
  try {
    const auto json = parse_json(read_file(config));
    if (json.contains("model_max_length") && json["model_max_length"].is_number())
      // "No limit" is written as an absurdly large number.
      length =
          static_cast<int64_t>(std::min(static_cast<double>(kWanTextLength), json["model_max_length"].get<double>()));
  } catch (const nlohmann::json::exception& error) {
    fail("{}: not valid JSON: {}", config.string(), error.what());
  }
  check(length > 0, "{}: 'model_max_length' expected a positive number", config.string());
  return length;
}

Tokenizer::~Tokenizer() = default;

bool Tokenizer::is_in(const fs::path& dir) {
  return fs::exists(dir / kSentencepieceFile) || fs::exists(dir / kTokenizersFile);
}

void Tokenizer::read_sentencepiece(const fs::path& file) {
  const std::string model = read_file(file);
  try {
    check_character_maps_of_model(model);
    load(*processor_, model);
  } catch (const std::exception& error) {  // the library's tries throw what it does not catch
    fail("{}: not a sentencepiece model: {}", file.string(), error.what());
  }
  end_token_ = processor_->eos_id();
  check(end_token_ >= 0, "{}: the sentencepiece model has no end-of-sentence token", file.string());
}

void Tokenizer::read_tokenizers(const fs::path& file) {
  UnigramModel model = read_unigram_model(file);
  try {
    load(*processor_, model.sentencepiece_model);
  } catch (const std::exception& error) {
    fail("{}: its vocabulary makes no sentencepiece model: {}", file.string(), error.what());
  }
  end_token_ = model.end_token;
  added_tokens_ = std::move(model.added_tokens);
}

// Ids of text without added tokens.
void Tokenizer::append_pieces(std::string_view text, std::vector<int64_t>& ids) const {
  std::vector<int> pieces;
  const auto status = processor_->Encode(absl::string_view(text.data(), text.size()), &pieces);
  check(status.ok(), "the prompt cannot be tokenized: {}", status.ToString());
  ids.insert(ids.end(), pieces.begin(), pieces.end());
}

std::vector<int64_t> Tokenizer::encode(const std::string& prompt) const {
  const std::string cleaned = clean_prompt(prompt);
  std::vector<int64_t> ids;
  size_t begun = 0;
  for (size_t at = 0; at < cleaned.size();) {
    const std::pair<std::string, int64_t>* longest = nullptr;
    for (const auto& token : added_tokens_)
      if (cleaned.compare(at, token.first.size(), token.first) == 0 &&
          (!longest || token.first.size() > longest->first.size()))
        longest = &token;
    if (!longest) {
      ++at;
      continue;
    }
    append_pieces(std::string_view(cleaned).substr(begun, at - begun), ids);
    ids.push_back(longest->second);
    begun = at += longest->first.size();
  }
  append_pieces(std::string_view(cleaned).substr(begun), ids);
  if (static_cast<int64_t>(ids.size()) > max_length_ - 1) ids.resize(max_length_ - 1);
  ids.push_back(end_token_);
  return ids;
}

int64_t Tokenizer::vocabulary_size() const { return processor_->GetPieceSize(); }

}  // namespace dualparal
