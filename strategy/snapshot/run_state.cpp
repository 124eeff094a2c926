// SPDX-License-Identifier: Apache-2.0
#include "strategy/snapshot/run_state.h"

#include <algorithm>

#include "base/errors.h"

namespace dualparal {
namespace {

constexpr const char* kLatents = "latents";
constexpr const char* kSampler = "sampler";
constexpr const char* kFirstFrame = "first_frame";

Range frames_of(const RunState& piece) {
  const int64_t first = piece.number(kFirstFrame);
  return {first, first + piece.tensor(kLatents).size(2)};
}

}  // namespace

const at::Tensor& RunState::tensor(const std::string& name) const {
  const auto found = tensors.find(name);
  check(found != tensors.end(), "the kept state has no tensor '{}'", name);
  return found->second;
}

int64_t RunState::number(const std::string& name) const {
  const auto found = numbers.find(name);
  check(found != numbers.end(), "the kept state has no number '{}'", name);
  return found->second;
}

void RunState::add(const std::string& name, const SamplerState& sampler) {
  for (const auto& [key, tensor] : sampler.tensors) tensors[name + "/" + key] = tensor;
  for (const auto& [key, number] : sampler.numbers) numbers[name + "/" + key] = number;
}

SamplerState RunState::sampler(const std::string& name, const at::Device& device) const {
  const std::string begin = name + "/";
  SamplerState state;
  for (const auto& [key, tensor] : tensors)
    if (key.starts_with(begin)) state.tensors[key.substr(begin.size())] = tensor.to(device, at::kFloat, false, true);
  for (const auto& [key, number] : numbers)
    if (key.starts_with(begin)) state.numbers[key.substr(begin.size())] = number;
  return state;
}

RunState latents_state(int64_t first_frame, const at::Tensor& latents, const Sampler* sampler) {
  RunState state{{{kLatents, latents}}, {{kFirstFrame, first_frame}}};
  if (sampler) state.add(kSampler, sampler->state());
  return state;
}

RunState SavedRun::frames(const Range& frames, int64_t rank) const {
  const auto holds = [](const RunState& piece, int64_t frame) {
    const Range held = frames_of(piece);
    return held.begin <= frame && frame < held.end;
  };
  if (rank < static_cast<int64_t>(ranks.size())) {
    const Range own = frames_of(ranks[rank]);
    if (own.begin == frames.begin && own.end == frames.end) return ranks[rank];
  }
  std::map<std::string, std::vector<at::Tensor>> parts;
  RunState out;
  for (int64_t frame = frames.begin; frame < frames.end;) {
    const auto piece = std::ranges::find_if(ranks, [&](const RunState& one) { return holds(one, frame); });
    check(piece != ranks.end(), "no rank kept frame {} of frames {}..{}", frame, frames.begin, frames.end - 1);
    const Range held = frames_of(*piece);
    const int64_t end = std::min(held.end, frames.end);
    for (const auto& [name, tensor] : piece->tensors)
      parts[name].push_back(tensor.slice(2, frame - held.begin, end - held.begin));
    out.numbers = piece->numbers;  // of the sampler: the same on all ranks
    frame = end;
  }
  for (const auto& [name, tensors] : parts) out.tensors[name] = at::cat(tensors, 2);
  out.numbers[kFirstFrame] = frames.begin;
  return out;
}

}  // namespace dualparal
