// SPDX-License-Identifier: Apache-2.0
#include "base/program_module.h"

#include <dlfcn.h>

#include <string_view>

#include "base/errors.h"

namespace dualparal {

std::filesystem::path beside_program(const std::string& file) {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() / file;
}

void* module_function(const std::filesystem::path& file, const std::string& symbol, const std::string& whose,
                      const std::string& instead) {
  void* const library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) fail("{}{} could not be loaded ({}){}", whose, file.string(), dlerror(), instead);
  void* const function = dlsym(library, symbol.c_str());
  check(function, "{}{} is not this program's module: it has no {}", whose, file.string(), symbol);
  return function;
}

void check_module_version(const std::filesystem::path& file, const char* version, const std::string& whose) {
  check(std::string_view(version) == DUALPARAL_VERSION,
        "{}{} belongs to version {} of this program, which is {}; build both again", whose, file.string(), version,
        DUALPARAL_VERSION);
}

}  // namespace dualparal
