// SPDX-License-Identifier: Apache-2.0
#include "harness/record/provenance.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <dlfcn.h>
#include <fmt/chrono.h>
#include <torch/headeronly/version.h>
#include <unistd.h>

#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <set>

#include "base/device.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/program_module.h"
#include "build_stamp.h"

namespace dualparal {
namespace {

nlohmann::ordered_json code_version() {
  if (!*kBuiltCommit) return {{"version", DUALPARAL_VERSION}, {"commit", nullptr}, {"dirty", nullptr}};
  return {{"version", DUALPARAL_VERSION}, {"commit", kBuiltCommit}, {"dirty", kBuiltDirty}};
}

std::string cuda_driver_version() {
  std::ifstream in("/proc/driver/nvidia/version");
  std::string line;
  std::getline(in, line);
  return line;
}

// Of the library that is loaded, if one is.
nlohmann::ordered_json nccl_version() {
  void* const library = dlopen("libnccl.so.2", RTLD_LAZY | RTLD_NOLOAD);
  if (!library) return nullptr;
  const auto get = reinterpret_cast<int (*)(int*)>(dlsym(library, "ncclGetVersion"));
  int version = 0;
  if (!get || get(&version) != 0) return nullptr;
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

bool uses_tf32() { return at::globalContext().allowTF32CuBLAS() || at::globalContext().allowTF32CuDNN(); }

// What the environment tells the libraries that compute and send. No other variables: an environment can hold secrets.
nlohmann::ordered_json told_libraries() {
  auto told = nlohmann::ordered_json::object();
  for (char** entry = environ; *entry; ++entry) {
    const std::string_view text = *entry;
    const std::string name(text.substr(0, text.find('=')));
    for (const char* prefix :
         {"OMP_", "MKL_", "CUDA_", "CUBLAS", "CUDNN_", "NCCL_", "TORCH_NCCL_", "NVIDIA_TF32", "PYTORCH_CUDA_"})
      if (name.starts_with(prefix) && name.size() < text.size()) told[name] = text.substr(name.size() + 1);
  }
  return told;
}

}  // namespace

std::string version_text() {
  if (!*kBuiltCommit) return DUALPARAL_VERSION;
  return fmt::format("{} (commit {}{})", DUALPARAL_VERSION, kBuiltCommit, kBuiltDirty ? ", with changes" : "");
}

std::string program_hash() {
  static const std::string hash = [] {
    std::set<std::filesystem::path> modules;
    for (const auto& file : std::filesystem::directory_iterator(beside_program("")))
      if (const std::string name = file.path().filename(); name.starts_with("libdualparal_") && name.ends_with(".so"))
        modules.insert(file.path());
    std::string hashes = text_hash(read_file("/proc/self/exe"));
    for (const auto& module : modules) hashes += text_hash(read_file(module));
    return text_hash(hashes);
  }();
  return hash;
}

double load_average() {
  double minute = 0;
  return getloadavg(&minute, 1) == 1 ? minute : -1;
}

nlohmann::ordered_json provenance(const at::Device& device) {
  char host[256] = "";
  gethostname(host, sizeof host - 1);
  return {
      {"code", code_version()},
      {"host", host},
      {"cpu", device_description(at::kCPU)},
      {"cpu_threads", at::get_num_threads()},
      {"gpu", device.is_cuda() ? nlohmann::ordered_json(device_description(device)) : nullptr},
      {"gpu_driver", device.is_cuda() ? nlohmann::ordered_json(cuda_driver_version()) : nullptr},
      {"libtorch", TORCH_VERSION},
      {"cudnn", device.is_cuda() ? nlohmann::ordered_json(at::detail::getCUDAHooks().versionCuDNN()) : nullptr},
      {"nccl", nccl_version()},
      {"tf32", device.is_cuda() ? nlohmann::ordered_json(uses_tf32()) : nullptr},
      {"cudnn_benchmark", device.is_cuda() ? nlohmann::ordered_json(at::globalContext().benchmarkCuDNN()) : nullptr},
      {"compiler", __VERSION__},
      {"environment", told_libraries()},
      {"date", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)))}};
}

}  // namespace dualparal
