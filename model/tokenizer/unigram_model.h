// SPDX-License-Identifier: Apache-2.0
// The unigram model of a `tokenizer.json` (Hugging Face's tokenizers), as a sentencepiece model.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace dualparal {

struct UnigramModel {
  std::string sentencepiece_model;  ///< serialized ModelProto (sentencepiece_model.proto), for LoadFromSerializedProto
  int64_t end_token = 0;            ///< the one that `post_processor` adds
  /// Texts that are tokens of their own wherever they stand in a prompt, with their ids.
  std::vector<std::pair<std::string, int64_t>> added_tokens = {};
};

/// Error that names the file, and what in it sentencepiece has no counterpart for, if it would not give the ids that
/// the tokenizers library gives: expected are a Unigram model, no normalizer but a sentencepiece one (Precompiled),
/// words that begin with U+2581 (Metaspace), and a single end token. Prompts that hold a U+2581 themselves may differ.
UnigramModel read_unigram_model(const std::filesystem::path& tokenizer_json);

}  // namespace dualparal
