// SPDX-License-Identifier: Apache-2.0
#include "baselines/windows/dual_scope_attention.h"

#include <algorithm>

#include "model/ops/attention.h"

namespace dualparal {

Sight sight_of(const Range& clip, int64_t frames, int64_t context_frames, int64_t global_frames) {
  const Range window{std::max<int64_t>(0, clip.begin - context_frames), std::min(frames, clip.end + context_frames)};
  Sight sight;
  for (int64_t frame = window.begin; frame < window.end; ++frame)
    if (frame < clip.begin || frame >= clip.end) sight.local.push_back(frame);
  const int64_t count = std::min(global_frames, frames);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t frame = i * frames / count;
    if (frame < window.begin || frame >= window.end) sight.global.push_back(frame);
  }
  return sight;
}

std::vector<int64_t> frames_within(const std::vector<int64_t>& frames, const Range& clip) {
  std::vector<int64_t> out;
  for (const int64_t frame : frames)
    if (frame >= clip.begin && frame < clip.end) out.push_back(frame);
  return out;
}

std::vector<DualScopeAttention::Arriving> DualScopeAttention::receive(const at::Tensor& key) {
  const int64_t own = exchange_.rank();
  std::vector<Arriving> arriving;
  for (int64_t from = 0; from < static_cast<int64_t>(clips_.size()); ++from) {
    if (from == own) continue;
    const auto local = frames_within(sights_[own].local, clips_[from]);
    const auto global = frames_within(sights_[own].global, clips_[from]);
    const auto count = static_cast<int64_t>(local.size() + global.size()) * frame_tokens_;
    if (count == 0) continue;
    arriving.push_back({exchange_.receive({2, key.size(0), count, key.size(2), key.size(3)}, key.options(), from),
                        static_cast<int64_t>(local.size()) * frame_tokens_});
  }
  return arriving;
}

void DualScopeAttention::send(const at::Tensor& key, const at::Tensor& value) {
  const int64_t own = exchange_.rank();
  for (int64_t to = 0; to < static_cast<int64_t>(clips_.size()); ++to) {
    if (to == own) continue;
    auto frames = frames_within(sights_[to].local, clips_[own]);
    const auto global = frames_within(sights_[to].global, clips_[own]);
    frames.insert(frames.end(), global.begin(), global.end());
    if (!frames.empty()) exchange_.send(at::stack({tokens_of(key, frames), tokens_of(value, frames)}), to);
  }
}

at::Tensor DualScopeAttention::attend(const AttentionInput& input) {
  exchange_.begin_layer(input.layer);
  const at::Tensor query = input.placed_query();
  at::Tensor key = placed_ ? input.key : input.placed_key();
  std::vector<Arriving> arriving = receive(key);
  send(key, input.value);
  if (placed_) key = input.placed_key();

  PartialAttention attention;
  attention.add(query, key, input.value, bias_.local);
  std::vector<at::Tensor> local, global;
  exchange_.finish_sends();  // before memory is taken for what arrives, put together
  for (Arriving& one : arriving) {
    const at::Tensor pair = one.message.take();
    local.push_back(pair.slice(2, 0, one.local_tokens));
    global.push_back(pair.slice(2, one.local_tokens));
  }
  for (const bool is_local : {true, false}) {
    const auto& parts = is_local ? local : global;
    if (parts.empty()) continue;
    const at::Tensor pair = at::cat(parts, 2);
    at::Tensor keys = pair[0];
    if (placed_ && keys.size(1) > 0) keys = input.placed_key(keys, is_local ? placed_->local : placed_->global);
    attention.add(query, keys, pair[1], is_local ? bias_.local : bias_.global);
  }
  return attention.result();
}

// [batch, tokens of the clip, heads, head_dim] -> those of some of its frames
at::Tensor DualScopeAttention::tokens_of(const at::Tensor& x, const std::vector<int64_t>& frames) const {
  std::vector<at::Tensor> parts;
  for (const int64_t frame : frames) {
    const int64_t first = (frame - clips_[exchange_.rank()].begin) * frame_tokens_;
    parts.push_back(x.slice(1, first, first + frame_tokens_));
  }
  return at::cat(parts, 1);
}

}  // namespace dualparal
