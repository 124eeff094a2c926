// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace dualparal {

/// Cleans a UTF-8 prompt as the Wan pipeline does before tokenizing: typographic repair (ftfy: straight quotes,
/// ligatures, full- and half-width forms, line breaks, control characters, NFC), HTML entities resolved twice,
/// runs of white space made one space. Unlike ftfy it does not guess at text decoded with a wrong character set
/// ("mojibake"). Throws Error if the text is not valid UTF-8.
std::string clean_prompt(const std::string& prompt);

}  // namespace dualparal
