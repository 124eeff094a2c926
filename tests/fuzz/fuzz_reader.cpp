// SPDX-License-Identifier: Apache-2.0
// libFuzzer's way into one of the readers, which DUALPARAL_FUZZ_READER names (tools/fuzz.py).
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "tests/fuzz/readers.h"

namespace fs = std::filesystem;
using namespace dualparal::testing;

namespace {

// libFuzzer closes the program's own output (-close_fd_mask): warnings of a million readings are of no use.
const int errors = dup(STDERR_FILENO);

const Reader& chosen_reader() {
  const char* name = std::getenv("DUALPARAL_FUZZ_READER");
  for (const Reader& reader : readers())
    if (name && reader.name == name) return reader;
  std::fprintf(stderr, "DUALPARAL_FUZZ_READER: expected one of");
  for (const Reader& reader : readers()) std::fprintf(stderr, " %s", reader.name.c_str());
  std::fprintf(stderr, ", got '%s'\n", name ? name : "");
  std::exit(2);
}

// In memory, with what the reader expects beside its file.
fs::path make_folder(const Reader& reader) {
  std::string name = "/dev/shm/fuzz-XXXXXX";
  if (!mkdtemp(name.data())) std::exit(2);
  if (const char* beside = std::getenv("DUALPARAL_FUZZ_BESIDE"))
    fs::copy(beside, name, fs::copy_options::recursive | fs::copy_options::overwrite_existing);
  fs::create_directories((fs::path(name) / reader.file).parent_path());
  static const fs::path at_end = name;
  std::atexit([] { fs::remove_all(at_end); });
  return name;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  static const Reader& reader = chosen_reader();
  static const fs::path folder = make_folder(reader);
  const std::string fault = fault_of(reader, folder, {reinterpret_cast<const char*>(bytes), size});
  if (fault.empty()) return 0;
  dprintf(errors, "%s: %s\n", reader.name.c_str(), fault.c_str());
  std::abort();
}
