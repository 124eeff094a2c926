// SPDX-License-Identifier: Apache-2.0
// Which latent frames each latent frame of a video sees in self-attention, if not all of them, and how that is cut into
// batches of dense attention: what is not seen is never computed, so nothing is masked.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <vector>

namespace dualparal {

/// Tokens [begin, end) of a sequence.
struct TokenSpan {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end - begin; }
};

/// Belongs to one rank: it keeps what it works out.
class FrameSight {
 public:
  /// seen: for every frame those that it sees, ascending, itself among them. frame_tokens: of one frame.
  FrameSight(std::vector<std::vector<int64_t>> seen, int64_t frame_tokens);

  int64_t frames() const { return static_cast<int64_t>(seen_.size()); }
  int64_t frame_tokens() const { return frame_tokens_; }
  int64_t tokens() const { return frames() * frame_tokens_; }
  /// Pairs of a frame and one that it sees, itself too: attention costs frame_tokens^2 pairs of tokens for each.
  int64_t pairs() const;

  /// Queries that follow each other, cut into pieces (frames, or what a rank holds of one) that are equally long and
  /// see equally many of the keys.
  struct Batch {
    TokenSpan queries;                           ///< counted from the first query
    std::vector<std::vector<TokenSpan>> pieces;  ///< the keys that each piece sees, counted from the first key
  };
  /// What queries [queries.begin, queries.end) of the video see of the keys [keys.begin, keys.end); queries that see
  /// none are left out. A batch's keys, gathered, are no more than all of `keys`, or than one piece's.
  const std::vector<Batch>& batches(const TokenSpan& queries, const TokenSpan& keys) const;

 private:
  std::vector<TokenSpan> keys_of(int64_t frame, const TokenSpan& keys) const;

  std::vector<std::vector<int64_t>> seen_;
  int64_t frame_tokens_;
  mutable std::map<std::array<int64_t, 4>, std::vector<Batch>> batches_;
};

}  // namespace dualparal
