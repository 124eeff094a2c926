// SPDX-License-Identifier: Apache-2.0
#include "harness/trace/video_times.h"

#include "base/errors.h"
#include "harness/record/replica_share.h"
#include "harness/record/statistics.h"

namespace dualparal {
namespace {

PercentilesLine percentiles(const std::vector<VideoLine>& videos, std::optional<double> VideoLine::*field) {
  std::vector<double> values;
  for (const VideoLine& video : videos) values.push_back((video.*field).value());
  return {percentile(values, 0.5), percentile(values, 0.9), percentile(values, 0.99)};
}

// The videos of one rank that hands them out, in their order.
std::vector<VideoLine> videos_of(const EventSums& rank, double began_s, size_t videos) {
  const auto& outputs = rank.outputs;
  auto begins = rank.video_begins;
  if (begins.empty() && videos == 1) begins = {began_s};
  // Videos of a list are alike: each has as many pieces.
  check(videos > 0 && begins.size() == videos && !outputs.empty() && outputs.size() % videos == 0,
        "a trace with {} begins of videos and {} pieces of finished latents, for {} videos", begins.size(),
        outputs.size(), videos);
  const size_t pieces = outputs.size() / videos;
  std::vector<VideoLine> lines;
  for (size_t video = 0; video < videos; ++video)
    lines.push_back({.begin_s = begins[video] - began_s,
                     .first_block_s = outputs[video * pieces] - begins[video],
                     .latency_s = outputs[(video + 1) * pieces - 1] - begins[video]});
  return lines;
}

}  // namespace

void set_video_fields(ResultLine& line, const std::vector<RankTrace>& traces, const std::vector<EventSums>& sums) {
  if (!line.videos) return;
  const int64_t replicas = replicas_in(line);
  const size_t ranks = traces.size() / static_cast<size_t>(replicas);
  line.per_video.assign(static_cast<size_t>(*line.videos), {});
  for (int64_t replica = 0; replica < replicas; ++replica) {
    const auto own = videos_of_replica(*line.videos, replicas, replica);
    const size_t first = static_cast<size_t>(replica) * ranks;
    const auto lines = videos_of(sums.at(first), traces.at(first).begin_s, own.size());
    for (size_t i = 0; i < own.size(); ++i) line.per_video[static_cast<size_t>(own[i])] = lines[i];
  }
  line.videos_per_s = static_cast<double>(*line.videos) / line.latency_s.value();
  line.video_latency_s = percentiles(line.per_video, &VideoLine::latency_s);
  line.video_first_block_s = percentiles(line.per_video, &VideoLine::first_block_s);
}

}  // namespace dualparal
