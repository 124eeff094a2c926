// SPDX-License-Identifier: Apache-2.0
#include "harness/metrics/content.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <vector>

#include "base/errors.h"

namespace dualparal {
namespace {

struct NamedColour {
  const char* name;
  std::array<double, 3> rgb;
};

constexpr std::array<const char*, 3> kShapes = {"circle", "square", "triangle"};
constexpr std::array<NamedColour, 6> kColours = {{{"red", {220, 40, 40}},
                                                  {"green", {50, 200, 70}},
                                                  {"blue", {60, 110, 240}},
                                                  {"yellow", {235, 215, 60}},
                                                  {"magenta", {205, 70, 205}},
                                                  {"white", {240, 240, 240}}}};
constexpr std::array<NamedColour, 4> kBackgrounds = {
    {{"black", {12, 12, 12}}, {"dark blue", {20, 25, 85}}, {"dark green", {15, 70, 35}}, {"grey", {95, 95, 95}}}};

constexpr int64_t kBorder = 2;                               // pixels
constexpr double kThreshold = 48;                            // of 255
constexpr size_t kMinSpeck = 12;                             // pixels
constexpr size_t kMinObject = 80;                            // pixels
constexpr double kLean = 0.04;                               // of the height: above it, a triangle
constexpr double kFill = 0.845;                              // of the bounding box: above it, a square
constexpr std::array<double, 3> kMinIou = {0.8, 0.8, 0.55};  // by shape

using Colour = std::array<double, 3>;

/// A frame's pixels, read in place.
struct Image {
  const uint8_t* data;
  int64_t height, width;
  const uint8_t* pixel(int64_t index) const { return data + 3 * index; }
};

double median(std::vector<uint8_t>& values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return (*std::max_element(values.begin(), middle) + *middle) / 2.0;
}

Colour median_colour(const Image& image, const std::vector<int64_t>& pixels) {
  Colour colour{};
  std::vector<uint8_t> values(pixels.size());
  for (size_t channel = 0; channel < 3; ++channel) {
    std::ranges::transform(pixels, values.begin(), [&](int64_t index) { return image.pixel(index)[channel]; });
    colour[channel] = median(values);
  }
  return colour;
}

template <size_t size>
int nearest(const Colour& colour, const std::array<NamedColour, size>& table) {
  const auto squared_distance = [&](const NamedColour& entry) {
    double sum = 0;
    for (size_t i = 0; i < 3; ++i) sum += (colour[i] - entry.rgb[i]) * (colour[i] - entry.rgb[i]);
    return sum;
  };
  return static_cast<int>(std::ranges::min_element(table, {}, squared_distance) - table.begin());
}

double largest_difference(const Colour& a, const Colour& b) {
  return std::max({std::abs(a[0] - b[0]), std::abs(a[1] - b[1]), std::abs(a[2] - b[2])});
}

std::vector<int64_t> border_pixels(const Image& image) {
  std::vector<int64_t> pixels;
  for (int64_t y = 0; y < image.height; ++y)
    for (int64_t x = 0; x < image.width; ++x)
      if (y < kBorder || y >= image.height - kBorder || x < kBorder || x >= image.width - kBorder)
        pixels.push_back(y * image.width + x);
  return pixels;
}

/// The 4-connected components of the pixels farther than the threshold, in row order of their first pixel.
std::vector<std::vector<int64_t>> components(const std::vector<double>& distance, int64_t height, int64_t width) {
  std::vector<char> open(distance.size());
  std::ranges::transform(distance, open.begin(), [](double d) { return d > kThreshold; });
  std::vector<std::vector<int64_t>> found;
  for (int64_t start = 0; start < height * width; ++start) {
    if (!open[start]) continue;
    std::vector<int64_t> pixels;
    const auto take = [&](int64_t index) {
      if (!open[index]) return;
      open[index] = 0;
      pixels.push_back(index);
    };
    take(start);
    for (size_t i = 0; i < pixels.size(); ++i) {  // grows while it is walked
      const int64_t index = pixels[i], x = index % width;
      if (index >= width) take(index - width);
      if (index + width < height * width) take(index + width);
      if (x > 0) take(index - 1);
      if (x + 1 < width) take(index + 1);
    }
    found.push_back(std::move(pixels));
  }
  return found;
}

/// The shape of an object, by how low its centre lies in its bounding box and how much of the box it fills; -1 if the
/// ideal shape in that box overlaps it too little. centre_row: of the whole frame.
int classify_shape(const std::vector<int64_t>& body, int64_t width, double centre_row) {
  int64_t top = body[0] / width, bottom = top, left = body[0] % width, right = left;
  for (const int64_t index : body) {
    top = std::min(top, index / width), bottom = std::max(bottom, index / width);
    left = std::min(left, index % width), right = std::max(right, index % width);
  }
  const int64_t rows = bottom - top + 1, columns = right - left + 1;
  const double lean = (centre_row - static_cast<double>(top + bottom) / 2) / static_cast<double>(rows);
  const double fill = static_cast<double>(body.size()) / static_cast<double>(rows * columns);
  enum Shape { kCircle, kSquare, kTriangle };
  const Shape shape = lean > kLean ? kTriangle : fill > kFill ? kSquare : kCircle;

  const auto in_ideal = [&](int64_t y, int64_t x) {
    const double v = (static_cast<double>(y) + 0.5) / static_cast<double>(rows);  // 0 at the top, 1 at the bottom
    // 0 in the middle, 1 at the sides
    const double u = std::abs((static_cast<double>(x) + 0.5) / static_cast<double>(columns) * 2 - 1);
    return shape == kSquare || (shape == kCircle ? (2 * v - 1) * (2 * v - 1) + u * u <= 1 : u <= v);
  };
  int64_t ideal = 0, shared = 0;
  for (int64_t y = 0; y < rows; ++y)
    for (int64_t x = 0; x < columns; ++x) ideal += in_ideal(y, x);
  for (const int64_t index : body) shared += in_ideal(index / width - top, index % width - left);
  const int64_t either = ideal + static_cast<int64_t>(body.size()) - shared;
  return static_cast<double>(shared) / static_cast<double>(either) >= kMinIou[shape] ? shape : -1;
}

}  // namespace

ContentClasses parse_content_prompt(const std::string& prompt) {
  std::string words = prompt;
  std::ranges::transform(words, words.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  size_t split = words.find(" over ");
  if (split == std::string::npos) split = words.find(" across ");
  const std::string head = words.substr(0, split);
  const std::string tail = split == std::string::npos ? "" : words.substr(split);

  const auto first_named = [](const std::string& text, const auto& table, auto name) {
    const auto found =
        std::ranges::find_if(table, [&](const auto& entry) { return text.find(name(entry)) != std::string::npos; });
    return found == table.end() ? -1 : static_cast<int>(found - table.begin());
  };
  const auto colour_name = [](const NamedColour& entry) { return entry.name; };
  return {.shape = first_named(head, kShapes, [](const char* name) { return name; }),
          .colour = first_named(head, kColours, colour_name),
          .background = first_named(tail, kBackgrounds, colour_name)};
}

FrameObject find_object(const at::Tensor& frame) {
  check(frame.dim() == 3 && frame.size(2) == 3 && frame.scalar_type() == at::kByte && frame.is_cpu() &&
            frame.size(0) >= 2 * kBorder && frame.size(1) >= 2 * kBorder,
        "content: expected a frame [height, width, 3] of uint8 on the CPU, at least {} pixels each way, got [{}] of {}",
        2 * kBorder, fmt::join(frame.sizes(), ", "), at::toString(frame.scalar_type()));
  const at::Tensor pixels = frame.contiguous();
  const Image image{pixels.const_data_ptr<uint8_t>(), pixels.size(0), pixels.size(1)};
  const auto colour_at = [&](int64_t index) {
    const uint8_t* rgb = image.pixel(index);
    return Colour{static_cast<double>(rgb[0]), static_cast<double>(rgb[1]), static_cast<double>(rgb[2])};
  };

  FrameObject object;
  const Colour ground = median_colour(image, border_pixels(image));
  object.classes.background = nearest(ground, kBackgrounds);

  std::vector<double> distance(static_cast<size_t>(image.height * image.width));
  for (size_t i = 0; i < distance.size(); ++i)
    distance[i] = largest_difference(colour_at(static_cast<int64_t>(i)), ground);
  std::vector<std::vector<int64_t>> parts = components(distance, image.height, image.width);
  std::erase_if(parts, [](const auto& part) { return part.size() < kMinSpeck; });
  object.count = static_cast<int>(parts.size());
  if (parts.empty()) return object;

  const auto& part = *std::ranges::max_element(parts, {}, &std::vector<int64_t>::size);  // the first of the largest
  const auto farther_than = [&](double limit) {
    std::vector<int64_t> chosen;
    std::ranges::copy_if(part, std::back_inserter(chosen), [&](int64_t i) { return distance[i] > limit; });
    return chosen;
  };
  double farthest = 0;
  for (const int64_t index : part) farthest = std::max(farthest, distance[index]);
  const Colour colour = median_colour(image, farther_than(farthest / 2));
  object.classes.colour = nearest(colour, kColours);

  const std::vector<int64_t> body = farther_than(largest_difference(colour, ground) / 2);
  if (body.size() < kMinObject) return object;
  double rows = 0, columns = 0;
  for (const int64_t index : body) {
    rows += static_cast<double>(index / image.width);
    columns += static_cast<double>(index % image.width);
  }
  const auto count = static_cast<double>(body.size());
  object.centre = {rows / count, columns / count};
  object.classes.shape = classify_shape(body, image.width, (*object.centre)[0]);
  return object;
}

void ContentMeter::push_frame(const at::Tensor& frame) {
  const FrameObject seen = find_object(frame);
  const bool good = seen.count == 1 && seen.classes == wanted_;
  if (frames_ == 0) first_is_good_ = good;
  ++frames_;
  good_ += good;
  if (seen.centre) {
    if (centre_)
      largest_jump_ =
          std::max(largest_jump_, std::hypot((*seen.centre)[0] - (*centre_)[0], (*seen.centre)[1] - (*centre_)[1]));
    const std::array<int, 2> identity = {seen.classes.shape, seen.classes.colour};
    switches_ += identity_ && identity != *identity_;
    identity_ = identity;
  }
  centre_ = seen.centre;
}

nlohmann::json ContentMeter::result() const {
  nlohmann::json result;
  for (const char* name : {"content", "content_first_frame", "content_later_frames", "identity_switches_per_100_frames",
                           "largest_jump_px"})
    result[name] = nullptr;
  if (frames_ == 0) return result;
  const auto frames = static_cast<double>(frames_);
  result["content"] = static_cast<double>(good_) / frames;
  result["content_first_frame"] = first_is_good_ ? 1.0 : 0.0;
  if (frames_ > 1) result["content_later_frames"] = static_cast<double>(good_ - first_is_good_) / (frames - 1);
  result["identity_switches_per_100_frames"] = 100.0 * static_cast<double>(switches_) / frames;
  result["largest_jump_px"] = largest_jump_;
  return result;
}

}  // namespace dualparal
