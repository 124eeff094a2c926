// SPDX-License-Identifier: Apache-2.0
#include "harness/metrics/similarity.h"

#include <cmath>
#include <numbers>

#include <fmt/format.h>

namespace dualparal {
namespace {

constexpr int64_t kLevels = PictureContents::kLevels, kDirections = PictureContents::kDirections;
constexpr int64_t kFaintest = 16;  // levels over two pixels: below it, no edge

/// Which of the levels a value lies above, and how much of it belongs to the next one.
struct Level {
  int64_t below;
  double above;
};

const std::array<Level, 256>& levels() {
  static const std::array<Level, 256> table = [] {
    std::array<Level, 256> made{};
    for (int64_t value = 0; value < 256; ++value) {
      const double place = static_cast<double>(value) / 255.0 * (kLevels - 1);
      const int64_t below = std::min<int64_t>(kLevels - 2, static_cast<int64_t>(place));
      made[static_cast<size_t>(value)] = {below, place - static_cast<double>(below)};
    }
    return made;
  }();
  return table;
}

/// A pixel counts for the eight colours around it, by nearness: a slight change of colour is a slight change here.
void add_colour(const uint8_t* rgb, PictureContents& contents) {
  const Level &r = levels()[rgb[0]], &g = levels()[rgb[1]], &b = levels()[rgb[2]];
  double* corner = contents.colours.data() + (r.below * kLevels + g.below) * kLevels + b.below;
  for (int64_t i = 0; i < 2; ++i)
    for (int64_t j = 0; j < 2; ++j)
      for (int64_t k = 0; k < 2; ++k)
        corner[(i * kLevels + j) * kLevels + k] +=
            (i ? r.above : 1 - r.above) * (j ? g.above : 1 - g.above) * (k ? b.above : 1 - b.above);
}

/// The channel that changes most says the direction, to either side alike; its change is the weight.
void add_edge(const Picture& picture, int64_t y, int64_t x, PictureContents& contents) {
  const uint8_t *up = picture.pixel(y - 1, x), *down = picture.pixel(y + 1, x);
  const uint8_t *left = picture.pixel(y, x - 1), *right = picture.pixel(y, x + 1);
  int64_t dy = 0, dx = 0;
  for (int64_t c = 0; c < 3; ++c) {
    const int64_t v = down[c] - up[c], u = right[c] - left[c];
    if (v * v + u * u > dy * dy + dx * dx) dy = v, dx = u;
  }
  if (dy * dy + dx * dx <= kFaintest * kFaintest) return;
  const auto v = static_cast<double>(dy), u = static_cast<double>(dx);
  const double turn = std::atan2(v, u) / std::numbers::pi + 1;  // 0 to 2 half turns
  const double place = (turn - std::floor(turn)) * kDirections;
  const auto below = static_cast<int64_t>(place) % kDirections;
  const double above = place - std::floor(place), weight = std::hypot(v, u);
  contents.edges[static_cast<size_t>(below)] += weight * (1 - above);
  contents.edges[static_cast<size_t>((below + 1) % kDirections)] += weight * above;
}

template <class Shares>
double sum_of(const Shares& shares) {
  double sum = 0;
  for (const double share : shares) sum += share;
  return sum;
}

template <class Shares>
void normalise(Shares& shares) {
  const double sum = sum_of(shares);
  if (sum > 0)
    for (double& share : shares) share /= sum;
}

template <class Shares>
double in_common(const Shares& a, const Shares& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::sqrt(a[i] * b[i]);
  return std::min(sum, 1.0);  // rounding
}

}  // namespace

PictureContents contents_of(const Picture& picture) {
  PictureContents contents;
  for (int64_t y = 0; y < picture.height; ++y)
    for (int64_t x = 0; x < picture.width; ++x) add_colour(picture.pixel(y, x), contents);
  for (int64_t y = 1; y + 1 < picture.height; ++y)
    for (int64_t x = 1; x + 1 < picture.width; ++x) add_edge(picture, y, x, contents);
  normalise(contents.colours);
  normalise(contents.edges);
  return contents;
}

double similarity(const PictureContents& a, const PictureContents& b) {
  const bool no_edges = sum_of(a.edges) == 0 && sum_of(b.edges) == 0;
  return (in_common(a.colours, b.colours) + (no_edges ? 1.0 : in_common(a.edges, b.edges))) / 2;
}

void SimilarityMeter::push(const Picture& picture) {
  if (frames_++ == 0) return;
  PictureContents now = contents_of(picture);
  for (size_t i = 0; i < kDistances.size(); ++i)
    if (const auto distance = static_cast<size_t>(kDistances[i]); distance <= kept_.size())
      means_[i].add(similarity(now, kept_[distance - 1]));
  kept_.push_front(now);
  if (kept_.size() > static_cast<size_t>(kDistances.back())) kept_.pop_back();
}

nlohmann::json SimilarityMeter::result() const {
  nlohmann::json result = nlohmann::json::object();
  for (size_t i = 0; i < kDistances.size(); ++i)
    result[fmt::format("similarity_{}", kDistances[i])] = number(means_[i].value());
  return result;
}

}  // namespace dualparal
