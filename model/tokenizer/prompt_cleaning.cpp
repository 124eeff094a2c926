// SPDX-License-Identifier: Apache-2.0
#include "model/tokenizer/prompt_cleaning.h"

#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "base/errors.h"

namespace dualparal {
namespace {

struct HtmlEntity {
  std::u16string_view name;  // without '&'; the few that may stand without ';' are listed without it too
  std::u16string_view text;
};

// Sorted by name; made from Python's html.entities when the project is built.
constexpr HtmlEntity kHtmlEntities[] = {
#include "html_entities.inc"
};
constexpr size_t kLongestEntity = 32;

icu::UnicodeString nfc(const icu::UnicodeString& text, bool compatibility = false) {
  UErrorCode error = U_ZERO_ERROR;
  const auto* normalizer =
      compatibility ? icu::Normalizer2::getNFKCInstance(error) : icu::Normalizer2::getNFCInstance(error);
  const icu::UnicodeString result = normalizer->normalize(text, error);
  check(U_SUCCESS(error), "the prompt cannot be normalised: {}", u_errorName(error));
  return result;
}

bool is_ligature(UChar32 c) {
  return (c >= 0xFB00 && c <= 0xFB06) || (c >= 0x132 && c <= 0x133) || c == 0x149 || (c >= 0x1C4 && c <= 0x1CC) ||
         (c >= 0x1F1 && c <= 0x1F3);
}

bool is_wide_or_narrow_form(UChar32 c) { return (c >= 0xFF01 && c <= 0xFFEF) || c == 0x3000; }

bool is_removed_control(UChar32 c) {
  return c < 0x09 || c == 0x0B || (c >= 0x0E && c <= 0x1F) || c == 0x7F || (c >= 0x206A && c <= 0x206F) ||
         c == 0xFEFF || (c >= 0xFFF9 && c <= 0xFFFC);
}

// What ftfy's fix_text does to text that was decoded correctly.
icu::UnicodeString repair_typography(const icu::UnicodeString& text) {
  icu::UnicodeString out;
  for (int32_t i = 0; i < text.length(); i = text.moveIndex32(i, 1)) {
    const UChar32 c = text.char32At(i);
    if (c == 0x1B) {  // a terminal's escape sequence: ESC [ numbers m (or another letter)
      int32_t end = i + 1;
      if (text.charAt(end) == '[') {
        for (++end; end < text.length() && (u_isdigit(text.charAt(end)) || text.charAt(end) == ';');) ++end;
        if (end < text.length() && u_isalpha(text.charAt(end))) {
          i = end;
          continue;
        }
      }
      continue;
    }
    if (is_removed_control(c)) continue;
    if (c == '\r') {
      if (text.charAt(i + 1) != '\n') out.append(u'\n');
    } else if (c == 0x2028 || c == 0x2029 || c == 0x85) {
      out.append(u'\n');
    } else if (c == 0x2BC || (c >= 0x2018 && c <= 0x201B)) {
      out.append(u'\'');
    } else if (c >= 0x201C && c <= 0x201F) {
      out.append(u'"');
    } else if (is_ligature(c) || is_wide_or_narrow_form(c)) {
      out.append(nfc(icu::UnicodeString(c), /*compatibility=*/true));
    } else {
      out.append(c);
    }
  }
  return nfc(out);
}

const HtmlEntity* find_entity(std::u16string_view name) {
  const auto* found = std::lower_bound(std::begin(kHtmlEntities), std::end(kHtmlEntities), name,
                                       [](const HtmlEntity& entity, std::u16string_view n) { return entity.name < n; });
  return found != std::end(kHtmlEntities) && found->name == name ? found : nullptr;
}

// "&#38;" or "&#x26;" from `begin` (after "&#"): its character, and where it ends.
// The characters of Windows-1252 that numbers 0x80 to 0x9F mean in HTML; 0: what they are in Unicode.
constexpr std::array<char16_t, 32> kWindows1252 = {0x20AC, 0,      0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021,
                                                   0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0,      0x017D, 0,
                                                   0,      0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014,
                                                   0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0,      0x017E, 0x0178};

// What "&#number;" stands for; nothing, if it is a control character or no character at all.
icu::UnicodeString character_of(int64_t number) {
  if (number == 0 || number > 0x10FFFF || U_IS_SURROGATE(number)) return icu::UnicodeString(UChar32{0xFFFD});
  if (number >= 0x80 && number <= 0x9F && kWindows1252[number - 0x80] != 0)
    return icu::UnicodeString(kWindows1252[number - 0x80]);
  const bool control =
      (number < 0x20 && number != '\t' && number != '\n' && number != '\f' && number != '\r') || number == 0x7F;
  if (control || U_IS_UNICODE_NONCHAR(number)) return {};
  return icu::UnicodeString(static_cast<UChar32>(number));
}

bool numeric_entity(const icu::UnicodeString& text, int32_t begin, icu::UnicodeString& out, int32_t& end) {
  const bool hex = text.charAt(begin) == 'x' || text.charAt(begin) == 'X';
  int64_t value = 0;
  const int32_t first = begin + (hex ? 1 : 0);
  int32_t i = first;
  for (; i < text.length(); ++i) {
    const int32_t digit = u_digit(text.charAt(i), hex ? 16 : 10);
    if (digit < 0 || text.charAt(i) > 0x7F) break;
    value = std::min<int64_t>(value * (hex ? 16 : 10) + digit, 0x110000);
  }
  if (i == first) return false;
  end = i + (text.charAt(i) == ';' ? 1 : 0);
  out.append(character_of(value));
  return true;
}

// HTML5's rules, as Python's html.unescape applies them: the longest known name, ';' or not.
icu::UnicodeString unescape_html(const icu::UnicodeString& text) {
  icu::UnicodeString out;
  for (int32_t i = 0; i < text.length();) {
    if (text.charAt(i) == '&') {
      int32_t end = 0;
      if (text.charAt(i + 1) == '#' && numeric_entity(text, i + 2, out, end)) {
        i = end;
        continue;
      }
      int32_t length = 0;
      while (i + 1 + length < text.length() && length < static_cast<int32_t>(kLongestEntity)) {
        const char16_t n = text.charAt(i + 1 + length);
        if (!u_isalnum(n) || n > 0x7F) break;
        ++length;
      }
      if (text.charAt(i + 1 + length) == ';') ++length;
      const HtmlEntity* entity = nullptr;
      for (; length > 1 && !entity; --length)
        if ((entity = find_entity({text.getBuffer() + i + 1, static_cast<size_t>(length)}))) break;
      if (entity) {
        out.append(entity->text.data(), static_cast<int32_t>(entity->text.size()));
        i += 1 + length;
        continue;
      }
    }
    out.append(text.charAt(i++));
  }
  return out;
}

icu::UnicodeString single_spaces(const icu::UnicodeString& text) {
  icu::UnicodeString out;
  for (int32_t i = 0; i < text.length(); i = text.moveIndex32(i, 1)) {
    const UChar32 c = text.char32At(i);
    const bool space = u_isUWhiteSpace(c) || (c >= 0x1C && c <= 0x1F);  // what Python's \s matches
    if (!space)
      out.append(c);
    else if (!out.isEmpty() && out.charAt(out.length() - 1) != ' ')
      out.append(u' ');
  }
  if (out.endsWith(u" ")) out.truncate(out.length() - 1);
  return out;
}

bool is_valid_utf8(const std::string& text) {
  int32_t i = 0;
  const auto length = static_cast<int32_t>(text.size());
  while (i < length) {
    UChar32 c;
    U8_NEXT(text.data(), i, length, c);
    if (c < 0) return false;
  }
  return true;
}

}  // namespace

std::string clean_prompt(const std::string& prompt) {
  check(is_valid_utf8(prompt), "the prompt is not valid UTF-8");
  icu::UnicodeString text = icu::UnicodeString::fromUTF8(prompt);
  // ftfy resolves entities only in text without '<', the pipeline afterwards in any.
  if (text.indexOf(u'<') < 0) text = unescape_html(text);
  text = unescape_html(unescape_html(repair_typography(text)));
  std::string result;
  single_spaces(text).toUTF8String(result);
  return result;
}

}  // namespace dualparal
