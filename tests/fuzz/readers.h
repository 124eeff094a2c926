// SPDX-License-Identifier: Apache-2.0
// Everything that reads a file which others may have written or damaged, as functions of its bytes: for the corpus
// (corpus.cpp, a part of the unit tests) and for libFuzzer (fuzz_reader.cpp, tools/fuzz.py).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace dualparal::testing {

struct Reader {
  std::string name;
  std::string file;                                   ///< where the bytes lie, below the folder
  void (*read)(const std::filesystem::path& folder);  ///< reads all of it; Error that names the folder, or nothing
};

const std::vector<Reader>& readers();

/// Reads the bytes as that reader's file in `folder`. Empty, or what is wrong: an exception that is none of the
/// project's, or an error that does not say which file it is about.
std::string fault_of(const Reader& reader, const std::filesystem::path& folder, std::string_view bytes);

}  // namespace dualparal::testing
