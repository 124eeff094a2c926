// SPDX-License-Identifier: Apache-2.0
#include "model/tokenizer/prompt_cleaning.h"

#include "base/errors.h"
#include "tests/testing.h"

namespace dualparal {

BOOST_AUTO_TEST_SUITE(prompt_cleaning)

struct Case {
  std::string prompt, expected;
};
std::ostream& operator<<(std::ostream& out, const Case& c) { return out << c.prompt; }

const Case kCases[] = {
    {"  two   words\t\n ", "two words"},
    {"", ""},
    {"\u201Cquoted\u201D it\u2019s", "\"quoted\" it's"},
    {"\uFB01ne \uFB02ow", "fine flow"},
    {"\uFF26\uFF55\uFF4C\uFF4C", "Full"},
    {"salt &amp; pepper", "salt & pepper"},
    {"&lt;b&gt; &eacute; &#233; &#xE9;", "<b> \u00E9 \u00E9 \u00E9"},
    {"don&#146;t &#x80;5", "don't \u20AC5"},  // of Windows-1252, as HTML has it
    {"a&#1;b&#xFDD0;c", "abc"},
    {"&#x9F; &#0; &#xD800;", "\u0178 \uFFFD \uFFFD"},
    {"e\u0301", "\u00E9"},
    {"line\r\nbreak\u2028again", "line break again"},
    {"bell\u0007 and \u001B[31mred", "bell and red"},
    {"AT&T", "AT&T"},
};

BOOST_DATA_TEST_CASE(cleaned, boost::unit_test::data::make(kCases), c) {
  BOOST_TEST(clean_prompt(c.prompt) == c.expected);
}

BOOST_AUTO_TEST_CASE(other_encodings_are_errors) { BOOST_CHECK_THROW(clean_prompt("caf\xE9"), Error); }

BOOST_AUTO_TEST_SUITE_END()

}  // namespace dualparal
