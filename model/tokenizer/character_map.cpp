// SPDX-License-Identifier: Apache-2.0
#include "model/tokenizer/character_map.h"

#include <cstdint>
#include <cstring>
#include <vector>

#include "base/errors.h"

namespace dualparal {
namespace {

constexpr size_t kBlock = 256;  // units that a step may choose from, by the next byte

// A unit of Darts-clone's double array (darts.h, DoubleArrayUnit).
struct Unit {
  uint32_t bits;
  bool has_value() const { return bits >> 8 & 1; }
  uint32_t value() const { return bits & 0x7fffffff; }
  uint32_t label() const { return bits & 0x800000ff; }
  size_t offset() const { return static_cast<size_t>(bits >> 10) << ((bits & 1 << 9) >> 6); }
};

uint32_t number_at(std::string_view bytes, size_t begin) {
  uint32_t value = 0;
  std::memcpy(&value, bytes.data() + begin, sizeof value);  // little endian, as the machine
  return value;
}

// A field of a protocol buffer's message; the message loses it.
struct Field {
  uint64_t number = 0;
  std::string_view text;  // of those with a length
};

uint64_t take_varint(std::string_view& bytes) {
  uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    check(!bytes.empty(), "cut off within a number");
    const auto byte = static_cast<uint8_t>(bytes[0]);
    bytes.remove_prefix(1);
    value |= static_cast<uint64_t>(byte & 127) << shift;
    if (byte < 128) return value;
  }
  fail("a number of more than ten bytes");
}

Field take_field(std::string_view& message) {
  const uint64_t tag = take_varint(message);
  Field field{.number = tag >> 3, .text = {}};
  uint64_t bytes = 0;  // groups (3, 4) are tags alone: their fields are taken for the message's own
  switch (tag & 7) {
    case 0:
      take_varint(message);
      break;
    case 1:
      bytes = 8;
      break;
    case 2:
      bytes = take_varint(message);
      break;
    case 5:
      bytes = 4;
      break;
    default:
      break;
  }
  check(bytes <= message.size(), "cut off within field {}", field.number);
  field.text = message.substr(0, bytes);
  message.remove_prefix(bytes);
  return field;
}

}  // namespace

void check_character_map(std::string_view map) {
  if (map.empty()) return;
  const size_t trie_bytes = map.size() < 4 ? 0 : number_at(map, 0);
  check(trie_bytes > 0 && trie_bytes % 4 == 0 && trie_bytes < map.size() - 4,
        "character map of {} bytes: a trie of {} bytes does not fit", map.size(), trie_bytes);
  const std::string_view trie = map.substr(4, trie_bytes), texts = map.substr(4 + trie_bytes);
  check(texts.back() == '\0', "character map: its last text has no end");
  const size_t units = trie_bytes / 4;
  const auto unit = [&](size_t at) { return Unit{number_at(trie, 4 * at)}; };
  std::vector<bool> seen(units);
  std::vector<size_t> left;
  const auto reach = [&](size_t at) {
    check((at | (kBlock - 1)) < units, "character map: unit {} of its trie is reached, there are {}", at | (kBlock - 1),
          units);
    if (!seen[at]) left.push_back(at);
    seen[at] = true;
  };
  reach(unit(0).offset());
  while (!left.empty()) {
    const size_t from = left.back();
    left.pop_back();
    for (size_t byte = 0; byte < kBlock; ++byte) {
      const size_t at = from ^ byte;
      if (unit(at).label() != byte) continue;
      const size_t next = at ^ unit(at).offset();
      reach(next);
      if (unit(at).has_value())
        check(unit(next).value() < texts.size(), "character map: text {} is used, there are {} bytes of texts",
              unit(next).value(), texts.size());
    }
  }
}

void check_character_maps_of_model(std::string_view model) {
  constexpr uint64_t kNormalizer = 3, kDenormalizer = 5, kMap = 2;  // of sentencepiece_model.proto
  while (!model.empty()) {
    const Field part = take_field(model);
    if (part.number != kNormalizer && part.number != kDenormalizer) continue;
    for (std::string_view rest = part.text; !rest.empty();) {
      const Field field = take_field(rest);
      if (field.number == kMap) check_character_map(field.text);
    }
  }
}

}  // namespace dualparal
