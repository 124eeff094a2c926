// SPDX-License-Identifier: Apache-2.0
// Modules of the program: shared libraries beside it, loaded when they are wanted.
#pragma once

#include <filesystem>
#include <string>

namespace dualparal {

/// Where a file that belongs to the program lies.
std::filesystem::path beside_program(const std::string& file);

/// Loads the module; its function `symbol`. Error that begins with `whose` for a file that cannot be loaded (`instead`:
/// what to do then), or is no such module.
void* module_function(const std::filesystem::path& file, const std::string& symbol, const std::string& whose,
                      const std::string& instead);
/// Error unless the module was built with this version of the program.
void check_module_version(const std::filesystem::path& file, const char* version, const std::string& whose);

/// What the module says of itself. Module: a struct with the `program_version` that it was built with; the function
/// takes nothing and returns a pointer to one.
template <class Module>
const Module& program_module(const std::filesystem::path& file, const std::string& symbol,
                             const std::string& whose = "", const std::string& instead = "") {
  const auto get = reinterpret_cast<const Module* (*)()>(module_function(file, symbol, whose, instead));
  const Module* const module = get();
  check_module_version(file, module->program_version, whose);
  return *module;
}

}  // namespace dualparal
