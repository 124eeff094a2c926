// SPDX-License-Identifier: Apache-2.0
#include "harness/trace/video_times.h"

#include "base/errors.h"
#include "harness/record/statistics.h"

namespace dualparal {
namespace {

PercentilesLine percentiles(const std::vector<VideoLine>& videos, std::optional<double> VideoLine::*field) {
  std::vector<double> values;
  for (const VideoLine& video : videos) values.push_back((video.*field).value());
  return {percentile(values, 0.5), percentile(values, 0.9), percentile(values, 0.99)};
}

}  // namespace

void set_video_fields(ResultLine& line, const RankTrace& first_rank) {
  if (!line.videos) return;
  const auto videos = static_cast<size_t>(*line.videos);
  EventSums sums = first_rank.summed();
  sums.move({.offset_s = -first_rank.begin_s});  // since the ranks began
  const auto& outputs = sums.outputs;
  auto& begins = sums.video_begins;
  if (begins.empty() && videos == 1) begins = {0};
  // Videos of a list are alike: each has as many pieces.
  check(videos > 0 && begins.size() == videos && !outputs.empty() && outputs.size() % videos == 0,
        "a trace with {} begins of videos and {} pieces of finished latents, for {} videos", begins.size(),
        outputs.size(), videos);
  const size_t pieces = outputs.size() / videos;
  line.per_video.clear();
  for (size_t video = 0; video < videos; ++video)
    line.per_video.push_back({.begin_s = begins[video],
                              .first_block_s = outputs[video * pieces] - begins[video],
                              .latency_s = outputs[(video + 1) * pieces - 1] - begins[video]});
  line.videos_per_s = static_cast<double>(videos) / line.latency_s.value();
  line.video_latency_s = percentiles(line.per_video, &VideoLine::latency_s);
  line.video_first_block_s = percentiles(line.per_video, &VideoLine::first_block_s);
}

}  // namespace dualparal
