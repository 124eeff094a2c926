// SPDX-License-Identifier: Apache-2.0
// Work in processes of their own, some at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace dualparal {

struct Pieces {
  std::function<std::optional<size_t>()> next;                 ///< number of the piece to begin; nothing: no more
  std::function<std::string(size_t)> work;                     ///< in the new process: what it found out
  std::function<void(size_t, const std::string& text)> found;  ///< in this one, in the order in which they end
  std::function<std::string(size_t)> name;                     ///< for errors
};

/// All pieces, `jobs` at a time. Error that names a piece whose process ended without a text.
void in_processes(int64_t jobs, const Pieces& pieces);

}  // namespace dualparal
