// SPDX-License-Identifier: Apache-2.0
// Prompt to token ids, as the Wan pipeline does it: cleaned, sentencepiece, cut to the maximum, end token added.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sentencepiece {
class SentencePieceProcessor;
}

namespace dualparal {

class Tokenizer {
 public:
  /// Reads `spiece.model` or, where there is none, the unigram model of `tokenizer.json`, as today's transformers write
  /// it; and `tokenizer_config.json`, if it is there.
  explicit Tokenizer(const std::filesystem::path& tokenizer_dir);
  ~Tokenizer();
  /// Whether the folder has one of the two.
  static bool is_in(const std::filesystem::path& tokenizer_dir);

  /// Ids of the cleaned prompt with the end token, at most max_length() of them.
  std::vector<int64_t> encode(const std::string& prompt) const;

  /// Tokens that the text encoder's output is padded to: 512, or fewer if tokenizer_config.json's
  /// `model_max_length` says so.
  int64_t max_length() const { return max_length_; }
  int64_t vocabulary_size() const;

 private:
  void read_sentencepiece(const std::filesystem::path& file);
  void read_tokenizers(const std::filesystem::path& file);
  void append_pieces(std::string_view text, std::vector<int64_t>& ids) const;

  std::unique_ptr<sentencepiece::SentencePieceProcessor> processor_;
  int64_t max_length_ = 512;
  int64_t end_token_ = 1;
  std::vector<std::pair<std::string, int64_t>> added_tokens_;  // tokens wherever their text stands
};

}  // namespace dualparal
