// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>

namespace dualparal {

/// Folder with configs/ and models/: the sources' or, in a bundle, the program's own.
std::filesystem::path data_dir();

}  // namespace dualparal
