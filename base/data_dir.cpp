// SPDX-License-Identifier: Apache-2.0
#include "base/data_dir.h"

namespace dualparal {
namespace fs = std::filesystem;

fs::path data_dir() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  for (fs::path folder = program.parent_path(); !error && folder.has_relative_path(); folder = folder.parent_path())
    if (fs::is_directory(folder / "configs") && fs::is_directory(folder / "models")) return folder;
  return DUALPARAL_SOURCE_DIR;
}

}  // namespace dualparal
