// SPDX-License-Identifier: Apache-2.0
#include "harness/metrics/motion.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "base/errors.h"

namespace dualparal {
namespace {

constexpr int64_t kSide = 16, kStride = 8;  // blocks of pixels, which overlap
constexpr int64_t kReach = 32;              // pixels, how far is searched
constexpr int64_t kValues = kSide * kSide * 3;
constexpr int64_t kStill = 2 * kValues;      // levels: below it, a block did not change
constexpr int64_t kFlat = 8 * kValues;       // below it, a block looks the same everywhere
constexpr double kPerPixel = 0.1 * kValues;  // a match farther away must be better by this for each pixel
constexpr double kFound = 0.5;               // of the block's own variation: what a match may differ

struct Offset {
  int64_t dy, dx;
  double distance;
};

/// All places within reach, the nearest first.
const std::vector<Offset>& offsets() {
  static const std::vector<Offset> found = [] {
    std::vector<Offset> all;
    for (int64_t dy = -kReach; dy <= kReach; ++dy)
      for (int64_t dx = -kReach; dx <= kReach; ++dx)
        if (dy * dy + dx * dx <= kReach * kReach)
          all.push_back({dy, dx, std::hypot(static_cast<double>(dy), static_cast<double>(dx))});
    std::ranges::stable_sort(all, {}, &Offset::distance);
    return all;
  }();
  return found;
}

/// Sum of absolute differences of two blocks. Given up, with what it was so far, once it is above `limit`.
int64_t block_difference(const uint8_t* a, const uint8_t* b, int64_t row_bytes, double limit) {
  int64_t sum = 0;
  for (int64_t y = 0; y < kSide && static_cast<double>(sum) <= limit; ++y, a += row_bytes, b += row_bytes) {
    int32_t row = 0;
    for (int64_t i = 0; i < 3 * kSide; ++i) row += std::abs(static_cast<int32_t>(a[i]) - static_cast<int32_t>(b[i]));
    sum += row;
  }
  return sum;
}

/// Sum of absolute differences of a block to the mean of its own channels.
int64_t block_variation(const uint8_t* block, int64_t row_bytes) {
  int32_t means[3] = {};
  for (int64_t y = 0; y < kSide; ++y)
    for (int64_t i = 0; i < 3 * kSide; ++i) means[i % 3] += block[y * row_bytes + i];
  for (int32_t& mean : means) mean /= kSide * kSide;
  int64_t sum = 0;
  for (int64_t y = 0; y < kSide; ++y)
    for (int64_t i = 0; i < 3 * kSide; ++i) sum += std::abs(block[y * row_bytes + i] - means[i % 3]);
  return sum;
}

/// Where between whole pixels the least difference lies, from those one pixel before, here and one after: two straight
/// lines of the same slope, as a sum of absolute differences has. -0.5 to 0.5.
double between_pixels(int64_t before, int64_t here, int64_t after) {
  const int64_t rise = std::max(before, after) - here;
  return rise > 0 ? static_cast<double>(before - after) / static_cast<double>(2 * rise) : 0;
}

class BlockSearch {
 public:
  BlockSearch(const Picture& before, const Picture& after) : before_(before), after_(after) {}

  /// How far the block of `after` at (y, x) has come, in pixels; kReach if it is not found. `unmoved`: its difference
  /// to the block at the same place before.
  double displacement(int64_t y, int64_t x, int64_t unmoved) const {
    Offset best{0, 0, 0};
    int64_t least = unmoved;
    double cost = static_cast<double>(unmoved);
    for (const Offset& offset : offsets()) {
      const double far = kPerPixel * offset.distance;
      if (far >= cost) break;
      if (!inside(y + offset.dy, x + offset.dx)) continue;
      const int64_t difference = difference_at(y, x, offset.dy, offset.dx, cost - far);
      if (static_cast<double>(difference) + far >= cost) continue;
      best = offset, least = difference, cost = static_cast<double>(difference) + far;
    }
    const auto variation = static_cast<double>(block_variation(after_.pixel(y, x), 3 * after_.width));
    if (static_cast<double>(least) > kFound * variation) return static_cast<double>(kReach);
    return std::hypot(fine(y, x, best, 1, 0, least), fine(y, x, best, 0, 1, least));
  }

 private:
  bool inside(int64_t y, int64_t x) const {
    return y >= 0 && x >= 0 && y + kSide <= before_.height && x + kSide <= before_.width;
  }
  int64_t difference_at(int64_t y, int64_t x, int64_t dy, int64_t dx, double limit) const {
    return block_difference(after_.pixel(y, x), before_.pixel(y + dy, x + dx), 3 * before_.width, limit);
  }
  double fine(int64_t y, int64_t x, const Offset& at, int64_t down, int64_t right, int64_t here) const {
    const auto whole = static_cast<double>(down * at.dy + right * at.dx);
    if (!inside(y + at.dy - down, x + at.dx - right) || !inside(y + at.dy + down, x + at.dx + right)) return whole;
    const double no_limit = 256.0 * kValues;
    return whole + between_pixels(difference_at(y, x, at.dy - down, at.dx - right, no_limit), here,
                                  difference_at(y, x, at.dy + down, at.dx + right, no_limit));
  }

  const Picture &before_, &after_;
};

double median_of(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

}  // namespace

PictureMotion motion_between(const Picture& before, const Picture& after) {
  const BlockSearch search(before, after);
  const int64_t row_bytes = 3 * after.width;
  PictureMotion motion;
  std::vector<double> displacements;
  for (int64_t y = 0; y + kSide <= after.height; y += kStride) {
    for (int64_t x = 0; x + kSide <= after.width; x += kStride) {
      const uint8_t *now = after.pixel(y, x), *then = before.pixel(y, x);
      const int64_t unmoved = block_difference(now, then, row_bytes, 256.0 * kValues);
      if (unmoved <= kStill) continue;
      motion.still = false;
      if (block_variation(now, row_bytes) <= kFlat) continue;
      displacements.push_back(search.displacement(y, x, unmoved) * static_cast<double>(after.factor));
    }
  }
  if (!motion.still)
    motion.displacement_px = displacements.empty() ? std::nullopt : std::optional(median_of(std::move(displacements)));
  return motion;
}

void MotionMeter::push(const Picture& picture) {
  const int64_t index = frames_++;
  if (index > 1 && picture.height >= kSide && picture.width >= kSide) {
    check(picture.height == last_.height && picture.width == last_.width, "motion: a frame of {} x {} after {} x {}",
          picture.height, picture.width, last_.height, last_.width);
    const PictureMotion motion = motion_between(last_, picture);
    ++compared_;
    still_ += motion.still;
    if (motion.displacement_px) {
      (std::ranges::binary_search(borders_, index) ? at_border_ : elsewhere_).add(*motion.displacement_px);
      largest_ = std::max(largest_.value_or(0), *motion.displacement_px);
    }
  }
  last_ = picture;
}

nlohmann::json MotionMeter::result() const {
  const auto still = ratio(static_cast<double>(still_), static_cast<double>(compared_));
  return {{"dynamic_degree_px", number((at_border_ + elsewhere_).value())},
          {"still_frames", number(still)},
          {"largest_motion_px", number(largest_)},
          {"border_motion_ratio", number(ratio(at_border_.value(), elsewhere_.value()))}};
}

}  // namespace dualparal
