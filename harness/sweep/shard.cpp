// SPDX-License-Identifier: Apache-2.0
#include "harness/sweep/shard.h"

#include <charconv>
#include <utility>

#include "base/errors.h"

namespace dualparal {
namespace {

constexpr int64_t kMostShards = 10000;

// 0 for what is no number.
int64_t number_of(const std::string& text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() ? number : 0;
}

}  // namespace

Shard parse_shard(const std::string& text) {
  const size_t slash = text.find('/');
  const Shard shard{number_of(text.substr(0, slash)),
                    slash == std::string::npos ? 0 : number_of(text.substr(slash + 1))};
  check_usage(shard.number >= 1 && shard.number <= shard.count && shard.count <= kMostShards,
              "--shard {}: expected I/N with 1 <= I <= N <= {}, as 2/4", text, kMostShards);
  return shard;
}

void keep_shard(Experiment& experiment, const Shard& shard) {
  std::map<std::pair<Flags, int64_t>, int64_t> runs;  // to their numbers
  for (const Point& point : experiment.points)
    runs.emplace(std::pair(point.flags, point.repeat), static_cast<int64_t>(runs.size()));
  check_usage(shard.count <= static_cast<int64_t>(runs.size()), "--shard {}/{}: there are only {} runs to share out",
              shard.number, shard.count, runs.size());
  std::erase_if(experiment.points, [&](const Point& point) {
    return runs.at({point.flags, point.repeat}) % shard.count != shard.number - 1;
  });
}

}  // namespace dualparal
