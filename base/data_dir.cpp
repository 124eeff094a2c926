// SPDX-License-Identifier: Apache-2.0
#include "base/data_dir.h"

#include <algorithm>
#include <vector>

#include "base/errors.h"
#include "base/nearest.h"

namespace dualparal {
namespace fs = std::filesystem;

fs::path data_dir() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  for (fs::path folder = program.parent_path(); !error && folder.has_relative_path(); folder = folder.parent_path())
    for (const fs::path& data : {folder, folder / "share" / "dualparal"})
      if (fs::is_directory(data / "configs") && fs::is_directory(data / "models")) return data;
  return DUALPARAL_SOURCE_DIR;
}

fs::path embedded_model() { return data_dir() / "models" / "moving-shapes"; }

fs::path project_path(const fs::path& given) {
  if (given.empty() || given.is_absolute() || fs::exists(given)) return given;
  const fs::path own = data_dir() / given;
  return fs::exists(own) ? own : given;
}

fs::path named_yaml(const std::string& what, const fs::path& folder, const std::string& name, const fs::path& beside) {
  if (name.ends_with(".yaml")) {
    const fs::path file = beside / name;
    const fs::path found = beside.empty() ? project_path(file) : file;
    check(fs::exists(found), "no {} '{}': there is no file {}", what, name, file.string());
    return found;
  }
  const fs::path file = data_dir() / folder / (name + ".yaml");
  if (fs::exists(file)) return file;
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto& other : fs::directory_iterator(data_dir() / folder, ignored))
    if (other.path().extension() == ".yaml") names.push_back(other.path().stem().string());
  std::sort(names.begin(), names.end());
  throw UsageError(fmt::format("no {} '{}'{}; in {}: {} (or the path of a .yaml file)", what, name,
                               did_you_mean(name, names), folder.string(), fmt::join(names, ", ")));
}

}  // namespace dualparal
