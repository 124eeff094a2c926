// SPDX-License-Identifier: Apache-2.0
#include "model/ops/frame_sight.h"

#include <algorithm>

#include "base/errors.h"

namespace dualparal {
namespace {

int64_t total(const std::vector<TokenSpan>& spans) {
  int64_t tokens = 0;
  for (const TokenSpan& span : spans) tokens += span.size();
  return tokens;
}

}  // namespace

FrameSight::FrameSight(std::vector<std::vector<int64_t>> seen, int64_t frame_tokens)
    : seen_(std::move(seen)), frame_tokens_(frame_tokens) {
  for (int64_t frame = 0; frame < frames(); ++frame) {
    const auto& those = seen_[frame];
    check(std::ranges::is_sorted(those) && std::ranges::find(those, frame) != those.end() && those.front() >= 0 &&
              those.back() < frames(),
          "frame {} of {}: expected the frames that it sees in order, itself among them, got [{}]", frame, frames(),
          fmt::join(those, ", "));
  }
}

int64_t FrameSight::pairs() const {
  int64_t pairs = 0;
  for (const auto& those : seen_) pairs += static_cast<int64_t>(those.size());
  return pairs;
}

// What a frame sees of the keys, neighbouring frames as one span.
std::vector<TokenSpan> FrameSight::keys_of(int64_t frame, const TokenSpan& keys) const {
  std::vector<TokenSpan> spans;
  for (const int64_t other : seen_[frame]) {
    const TokenSpan span{std::max(other * frame_tokens_, keys.begin) - keys.begin,
                         std::min((other + 1) * frame_tokens_, keys.end) - keys.begin};
    if (span.size() <= 0) continue;
    if (!spans.empty() && spans.back().end == span.begin)
      spans.back().end = span.end;
    else
      spans.push_back(span);
  }
  return spans;
}

const std::vector<FrameSight::Batch>& FrameSight::batches(const TokenSpan& queries, const TokenSpan& keys) const {
  check(0 <= queries.begin && queries.end <= tokens() && 0 <= keys.begin && keys.end <= tokens(),
        "queries {}..{} and keys {}..{} of a video of {} tokens", queries.begin, queries.end, keys.begin, keys.end,
        tokens());
  const auto [place, is_new] = batches_.try_emplace({queries.begin, queries.end, keys.begin, keys.end});
  std::vector<Batch>& all = place->second;
  if (!is_new) return all;
  int64_t length = 0, seen = 0;  // of the last batch's pieces
  for (int64_t begin = queries.begin; begin < queries.end;) {
    const int64_t frame = begin / frame_tokens_, end = std::min((frame + 1) * frame_tokens_, queries.end);
    std::vector<TokenSpan> spans = keys_of(frame, keys);
    const TokenSpan own{begin - queries.begin, end - queries.begin};
    begin = end;
    const int64_t count = total(spans);
    if (count == 0) continue;
    const bool fits = !all.empty() && all.back().queries.end == own.begin && length == own.size() && seen == count &&
                      (static_cast<int64_t>(all.back().pieces.size()) + 1) * count <= keys.size();
    if (!fits) all.push_back({{own.begin, own.begin}, {}});
    all.back().queries.end = own.end;
    all.back().pieces.push_back(std::move(spans));
    length = own.size();
    seen = count;
  }
  return all;
}

}  // namespace dualparal
