// SPDX-License-Identifier: Apache-2.0
#include "model/tokenizer/unigram_model.h"

#include <cstring>
#include <map>

#include "base/errors.h"
#include "base/files.h"
#include "base/parse_json.h"
#include "model/tokenizer/character_map.h"

namespace dualparal {
namespace {

using Json = nlohmann::json;

constexpr const char* kSpace = "\u2581";  // what stands for a space in pieces

// Protocol buffers' wire format, as much of it as a ModelProto needs: its headers are in no package.
class Message {
 public:
  void number(int field, uint64_t value) {
    tag(field, 0);
    varint(value);
  }
  void real(int field, float value) {
    tag(field, 5);
    char raw[sizeof value];
    std::memcpy(raw, &value, sizeof value);  // little endian, as the machine
    bytes_.append(raw, sizeof raw);
  }
  void text(int field, const std::string& value) {
    tag(field, 2);
    varint(value.size());
    bytes_ += value;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  void tag(int field, int wire_type) { varint(static_cast<uint64_t>(field) << 3 | static_cast<uint64_t>(wire_type)); }
  void varint(uint64_t value) {
    for (; value > 127; value >>= 7) bytes_ += static_cast<char>(value | 128);
    bytes_ += static_cast<char>(value);
  }

  std::string bytes_;
};

// Fields and values of sentencepiece_model.proto.
enum Piece : uint64_t { kNormal = 1, kUnknown = 2, kControl = 3, kUnused = 5, kByte = 6 };

std::string from_base64(const std::string& text) {
  static const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    if (c == '=') break;
    const size_t digit = digits.find(c);
    check(digit != std::string::npos, "'{}' is no digit of base 64", c);
    bits = bits << 6 | static_cast<uint32_t>(digit);
    if ((count += 6) < 8) continue;
    count -= 8;
    out += static_cast<char>(bits >> count & 255);
  }
  return out;
}

// The steps of a normalizer or pre-tokenizer, which may be null, one, or a sequence.
std::vector<Json> steps(const Json& node, const char* key) {
  if (node.is_null()) return {};
  if (node.at("type") == "Sequence") return node.at(key).get<std::vector<Json>>();
  return {node};
}

// sentencepiece's own character map; spaces are squeezed in any case.
std::string character_map(const Json& tokenizer) {
  std::string map;
  for (const Json& step : steps(tokenizer.value("normalizer", Json()), "normalizers")) {
    const auto type = step.at("type").get<std::string>();
    if (type == "Precompiled") {
      if (step.at("precompiled_charsmap").is_string()) map = from_base64(step.at("precompiled_charsmap"));
      check_character_map(map);
      continue;
    }
    const bool squeezes = type == "Replace" && step.at("pattern").value("Regex", "") == " {2,}";
    check(squeezes || type == "Strip", "normalizer {} is not supported, expected Precompiled alone", step.dump());
  }
  return map;
}

// Whether pieces end where words do.
bool splits_at_spaces(const Json& tokenizer) {
  bool splits = false, marks = false;
  for (const Json& step : steps(tokenizer.value("pre_tokenizer", Json()), "pretokenizers")) {
    const auto type = step.at("type").get<std::string>();
    check(type == "WhitespaceSplit" || type == "Metaspace",
          "pre_tokenizer {} is not supported, expected WhitespaceSplit and Metaspace", step.dump());
    splits = splits || type == "WhitespaceSplit";
    if (type != "Metaspace") continue;
    marks =
        step.at("replacement") == kSpace &&
        (step.contains("prepend_scheme") ? step["prepend_scheme"] == "always" : step.value("add_prefix_space", true));
    check(marks, "pre_tokenizer {} is not supported, expected '{}' before every word", step.dump(), kSpace);
    splits = splits || step.value("split", true);
  }
  check(marks, "pre_tokenizer expected Metaspace, got {}", tokenizer.value("pre_tokenizer", Json()).dump());
  return splits;
}

// post_processor: the prompt, then one token.
int64_t end_token(const Json& tokenizer) {
  const Json& post = tokenizer.at("post_processor");
  if (post.is_object() && post.value("type", "") == "TemplateProcessing") {
    const Json& parts = post.at("single");
    if (parts.size() == 2 && parts[0].contains("Sequence") && parts[1].contains("SpecialToken")) {
      const Json& ids = post.at("special_tokens").at(parts[1]["SpecialToken"].at("id").get<std::string>()).at("ids");
      if (ids.size() == 1) return ids[0].get<int64_t>();
    }
  }
  fail("post_processor expected the prompt and one end token, got {}", post.dump().substr(0, 200));
}

Piece type_of(int64_t id, const std::string& piece, int64_t unknown, bool byte_fallback, bool splits) {
  if (id == unknown) return kUnknown;
  if (byte_fallback && piece.size() == 6 && piece.starts_with("<0x")) return kByte;
  // Words are apart before pieces are looked for.
  if (splits && piece.find(kSpace, 1) != std::string::npos) return kUnused;
  return kNormal;
}

UnigramModel convert(const Json& tokenizer) {
  const Json& model = tokenizer.at("model");
  check(model.value("type", "") == "Unigram", "model expected of type Unigram, got {}",
        model.value("type", Json()).dump());
  UnigramModel out;
  out.end_token = end_token(tokenizer);
  std::map<int64_t, std::string> added;
  for (const Json& token : tokenizer.value("added_tokens", Json::array())) {
    check(!token.value("single_word", false), "added token {} is not supported: it stands for single words alone",
          token.dump());
    added[token.at("id").get<int64_t>()] = token.at("content").get<std::string>();
  }
  for (const auto& [id, text] : added)
    if (!text.empty()) out.added_tokens.emplace_back(text, id);

  const bool splits = splits_at_spaces(tokenizer), byte_fallback = model.value("byte_fallback", false);
  check(model.at("unk_id").is_number_integer(), "model expected an unknown token ('unk_id')");
  const auto unknown = model["unk_id"].get<int64_t>();
  Message proto;
  int64_t id = 0;
  for (const Json& entry : model.at("vocab")) {
    Message piece;
    const auto text = entry.at(0).get<std::string>();
    piece.text(1, text);
    piece.real(2, entry.at(1).get<float>());
    const bool apart = added.contains(id) && id != unknown;  // never a piece of a word
    piece.number(3, apart ? kControl : type_of(id, text, unknown, byte_fallback, splits));
    proto.text(1, piece.bytes());
    ++id;
  }
  Message trainer;
  trainer.number(3, 1);  // unigram
  trainer.number(35, byte_fallback);
  proto.text(2, trainer.bytes());
  Message normalizer;
  normalizer.text(1, "tokenizer.json");
  normalizer.text(2, character_map(tokenizer));
  for (const int field : {3, 4, 5}) normalizer.number(field, 1);  // a space in front, no spaces twice, marked
  proto.text(3, normalizer.bytes());
  out.sentencepiece_model = proto.bytes();
  return out;
}

}  // namespace

UnigramModel read_unigram_model(const std::filesystem::path& tokenizer_json) {
  const std::string file = tokenizer_json.string(), text = read_file(tokenizer_json);
  try {
    return convert(parse_json(text));
  } catch (const Json::exception& error) {
    fail("{}: not a tokenizer of the tokenizers library: {}", file, error.what());
  } catch (const Error& error) {
    fail("{}: {}", file, error.what());
  }
}

}  // namespace dualparal
