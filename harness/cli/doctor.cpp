// SPDX-License-Identifier: Apache-2.0
#include "harness/cli/doctor.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <torch/headeronly/version.h>
#include <unistd.h>

#include <cstdlib>
#include <thread>

#include "base/bytes.h"
#include "base/data_dir.h"
#include "base/device.h"
#include "base/errors.h"
#include "base/files.h"
#include "base/parse_json.h"
#include "base/program_module.h"
#include "comm/nccl_communicator.h"
#include "harness/media/codecs.h"
#include "harness/probe/link_probe.h"
#include "model/ops/kernels.h"

namespace dualparal {
namespace fs = std::filesystem;
namespace {

using State = Finding::State;

std::string in_gib(size_t bytes) { return fmt::format("{:.1f} GiB", gib(static_cast<int64_t>(bytes))); }

Finding processors() {
  return {State::kThere, "processor",
          fmt::format("{}, {} cores, {} ({} threads by default)", device_description(at::kCPU),
                      std::thread::hardware_concurrency(), at::get_cpu_capability(), at::get_num_threads())};
}

Finding memory() {
  const auto pages = [](int what) { return in_gib(static_cast<size_t>(sysconf(_SC_PAGE_SIZE) * sysconf(what))); };
  return {State::kThere, "memory", fmt::format("{}, {} free", pages(_SC_PHYS_PAGES), pages(_SC_AVPHYS_PAGES))};
}

Finding cuda_devices() {
  const std::string what = "CUDA devices";
  try {
    load_cuda_backend();
    const int64_t count = at::detail::getCUDAHooks().deviceCount();
    if (count == 0)
      return {State::kMissing, what, "none (LibTorch's CUDA backend is there)",
              "--device cuda needs an NVIDIA GPU and its driver (nvidia-smi); without: --device cpu, --mode trace"};
    std::vector<std::string> names;
    for (int64_t index = 0; index < count; ++index) {
      const at::Device device = parse_device(fmt::format("cuda:{}", index));
      const auto [free, total] = c10::getDeviceAllocator(at::kCUDA)->getMemoryInfo(device.index());
      names.push_back(fmt::format("{} ({}, {} free)", device_description(device), in_gib(total), in_gib(free)));
    }
    return {State::kThere, what, fmt::format("{}: {}", count, fmt::join(names, ", "))};
  } catch (const std::exception& error) {
    return {State::kMissing, what, first_line(error.what()),
            fmt::format("pip install torch=={} with CUDA", TORCH_VERSION)};
  }
}

Finding nccl_module() {
  try {
    return {State::kThere, "NCCL module", find_nccl_module().string()};
  } catch (const std::exception&) {
    return {State::kMissing, "NCCL module", "not beside the program",
            "--backend nccl needs it: ./run build makes it where CUDA's headers are (--backend gloo does without)"};
  }
}

Finding kernel_module() {
  const fs::path file = beside_program(kKernelModuleFile);
  if (fs::exists(file)) return {State::kThere, "CUDA kernels", file.string()};
  return {State::kMissing, "CUDA kernels", "not beside the program",
          "made where nvcc is (./run build); without them LibTorch's own operations do the same, slower"};
}

// Ranks on this machine, whose messages go through its memory.
Finding links() {
  constexpr double kGiga = 1e9, kMicro = 1e-6;
  try {
    const LinkFigures found = measure_gloo_here();
    return {State::kThere, "links",
            fmt::format("Gloo between two ranks here: {:.0f} us for {} KiB, {:.2f} GB/s for large messages (more: "
                        "dualparal calibrate --probe)",
                        found.samples.front().seconds / kMicro, found.samples.front().bytes >> 10,
                        found.bytes_per_s / kGiga)};
  } catch (const std::exception& error) {
    return {State::kMissing, "links", first_line(error.what()),
            "--nproc needs TCP over the loopback interface of this machine"};
  }
}

void add_codecs(std::vector<Finding>& findings) {
  std::vector<std::string> there;
  for (const CodecUse& codec : codec_uses())
    if (codec.there)
      there.push_back(codec.name);
    else
      findings.push_back({State::kMissing, "FFmpeg", fmt::format("no {}", codec.name),
                          fmt::format("needed for {}: an FFmpeg that was built with it", codec.use)});
  findings.push_back({State::kThere, "FFmpeg", fmt::format("{}: {}", ffmpeg_version(), fmt::join(there, ", "))});
}

// Whether a folder is a pipeline of Wan's, by the name of its class.
bool is_wan_model(const fs::path& folder) {
  try {
    const auto index = parse_json(read_file(folder / "model_index.json"));
    return index.at("_class_name").get<std::string>().starts_with("Wan");
  } catch (const std::exception&) {
    return false;
  }
}

// Checkpoints where Hugging Face's tools keep what they download.
std::vector<fs::path> downloaded_models() {
  const char *hub = std::getenv("HF_HUB_CACHE"), *hf = std::getenv("HF_HOME"), *home = std::getenv("HOME");
  const fs::path cache =
      hub ? fs::path(hub) : (hf ? fs::path(hf) : fs::path(home ? home : "") / ".cache/huggingface") / "hub";
  std::vector<fs::path> found;
  std::error_code ignored;
  for (const auto& model : fs::directory_iterator(cache, ignored))
    for (const auto& snapshot : fs::directory_iterator(model.path() / "snapshots", ignored))
      if (is_wan_model(snapshot.path())) found.push_back(snapshot.path());
  return found;
}

void add_models(std::vector<Finding>& findings) {
  const fs::path embedded = embedded_model();
  const bool whole =
      is_wan_model(embedded) && fs::exists(embedded / "transformer" / "diffusion_pytorch_model.safetensors");
  findings.push_back({whole ? State::kThere : State::kBroken, "embedded model", embedded.string(),
                      whole ? "" : "its files are not all there: install the program again, or give --model"});
  const auto models = downloaded_models();
  for (const fs::path& model : models) findings.push_back({State::kThere, "checkpoint", "--model " + model.string()});
  if (models.empty())
    findings.push_back(
        {State::kMissing, "checkpoint", "none in Hugging Face's cache",
         "hf download Wan-AI/Wan2.1-T2V-1.3B-Diffusers (29 GB), then --model with the folder that it says"});
}

}  // namespace

std::vector<Finding> examine_machine() {
  std::vector<Finding> findings{{State::kThere, "LibTorch", TORCH_VERSION},
                                processors(),
                                memory(),
                                links(),
                                cuda_devices(),
                                kernel_module(),
                                nccl_module()};
  add_codecs(findings);
  add_models(findings);
  return findings;
}

std::string findings_text(const std::vector<Finding>& findings) {
  std::string text;
  for (const Finding& finding : findings) {
    const char* mark = finding.state == State::kThere ? "ok" : finding.state == State::kMissing ? "-" : "BROKEN";
    text += fmt::format("{:<7} {:<15} {}\n", mark, finding.what, finding.found);
    if (!finding.how.empty()) text += fmt::format("{:<7} {:<15} -> {}\n", "", "", finding.how);
  }
  return text;
}

}  // namespace dualparal
