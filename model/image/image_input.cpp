// SPDX-License-Identifier: Apache-2.0
#include "model/image/image_input.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "model/checkpoint/config_reader.h"

namespace dualparal {
namespace {

constexpr double kFixedPoint = 1 << 22;  // Pillow's weights are whole multiples of 1 / this

double sinc(double x) { return x == 0 ? 1 : std::sin(std::numbers::pi * x) / (std::numbers::pi * x); }

double support_of(ResampleFilter filter) { return filter == ResampleFilter::kLanczos ? 3 : 2; }

double weight_of(ResampleFilter filter, double x) {
  x = std::abs(x);
  if (filter == ResampleFilter::kLanczos) return x < 3 ? sinc(x) * sinc(x / 3) : 0;
  constexpr double a = -0.5;
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

// [to, from]: what each of `from` pixels in a row contributes to each of `to`, in whole multiples of 1 / kFixedPoint.
at::Tensor weights_between(int64_t from, int64_t to, ResampleFilter filter) {
  const double scale = static_cast<double>(from) / static_cast<double>(to), stretch = std::max(scale, 1.0);
  const double support = support_of(filter) * stretch;
  at::Tensor weights = at::zeros({to, from}, at::kDouble);
  for (int64_t i = 0; i < to; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    const auto begin = std::max<int64_t>(0, static_cast<int64_t>(centre - support + 0.5));
    const auto end = std::min(from, static_cast<int64_t>(centre + support + 0.5));
    double* row = weights.mutable_data_ptr<double>() + i * from;
    double sum = 0;
    for (int64_t k = begin; k < end; ++k)
      sum += row[k] = weight_of(filter, (static_cast<double>(k) - centre + 0.5) / stretch);
    for (int64_t k = begin; k < end; ++k) row[k] = std::round(row[k] / sum * kFixedPoint);
  }
  return weights;
}

// Sums of whole numbers below 2^53 are exact in doubles.
at::Tensor to_bytes(const at::Tensor& sums) { return at::floor(sums / kFixedPoint + 0.5).clamp_(0, 255); }

void check_image(const at::Tensor& image) {
  check(image.dim() == 3 && image.size(2) == 3 && image.scalar_type() == at::kByte && image.numel() > 0,
        "image: expected [height, width, 3] of uint8, got [{}]", fmt::join(image.sizes(), ", "));
}

}  // namespace

at::Tensor resize_image(const at::Tensor& image, int64_t height, int64_t width, ResampleFilter filter) {
  check_image(image);
  at::Tensor x = image.permute({2, 0, 1}).to(at::kDouble);  // [3, height, width]
  const auto resize_widths = [&] {
    if (width != x.size(2)) x = to_bytes(at::matmul(x, weights_between(x.size(2), width, filter).t()));
  };
  const auto resize_heights = [&] {
    if (height != x.size(1)) x = to_bytes(at::matmul(weights_between(x.size(1), height, filter), x));
  };
  // Which goes first shows in the rounding. Found by trying sizes: Pillow before 13 always takes widths first.
  const int64_t fewer_rows = x.size(1) - height, fewer_columns = x.size(2) - width;
  const bool heights_first = fewer_rows > 0 && fewer_rows > 2 * fewer_columns;
  if (heights_first) resize_heights();
  resize_widths();
  if (!heights_first) resize_heights();
  return x.permute({1, 2, 0}).to(at::kByte).contiguous();
}

at::Tensor vae_pixels(const at::Tensor& image, int64_t height, int64_t width) {
  const at::Tensor sized = resize_image(image, height, width, ResampleFilter::kLanczos).to(at::kFloat) / 255;
  return (sized * 2 - 1).permute({2, 0, 1}).unsqueeze(0).unsqueeze(2).contiguous();
}

ImageProcessorConfig read_image_processor_config(const std::filesystem::path& file) {
  ConfigReader reader(file);
  ImageProcessorConfig config;
  // transformers adds keys of its own from version to version: those that change the pixels are read.
  for (const char* key : {"do_resize", "do_center_crop", "do_rescale", "do_normalize"}) reader.only(key, {true});
  reader.only("resample", {3});
  const auto number = [&](const char* key, std::initializer_list<const char*> names) {
    const auto value = reader.required<nlohmann::json>(key);
    for (const char* name : names)
      if (value.is_object() && value.contains(name) && value[name].is_number_integer() && value[name] > 0)
        return value[name].get<int64_t>();
    fail("{}: '{}' = {} expected {} of a whole number of pixels", file.string(), key, value.dump(), *names.begin());
  };
  config.shortest_edge = number("size", {"shortest_edge"});
  config.crop = number("crop_size", {"height"});
  check(config.crop == number("crop_size", {"width"}) && config.crop <= config.shortest_edge,
        "{}: 'crop_size' expected a square within the shorter edge of {}", file.string(), config.shortest_edge);
  config.mean = reader.required<std::vector<double>>("image_mean");
  config.std = reader.required<std::vector<double>>("image_std");
  check(config.mean.size() == 3 && config.std.size() == 3,
        "{}: 'image_mean' and 'image_std' expected three numbers, red, green and blue", file.string());
  return config;
}

at::Tensor encoder_pixels(const at::Tensor& image, const ImageProcessorConfig& config) {
  check_image(image);
  const int64_t height = image.size(0), width = image.size(1), edge = config.shortest_edge;
  const auto longer = [&](int64_t long_side, int64_t short_side) {
    return static_cast<int64_t>(static_cast<double>(edge * long_side) / static_cast<double>(short_side));
  };
  const bool upright = height >= width;
  const at::Tensor sized = upright ? resize_image(image, longer(height, width), edge, ResampleFilter::kBicubic)
                                   : resize_image(image, edge, longer(width, height), ResampleFilter::kBicubic);
  const int64_t top = (sized.size(0) - config.crop) / 2, left = (sized.size(1) - config.crop) / 2;
  const at::Tensor cut = sized.slice(0, top, top + config.crop).slice(1, left, left + config.crop);
  const at::Tensor mean = at::tensor(config.mean, at::kFloat), std = at::tensor(config.std, at::kFloat);
  return ((cut.to(at::kFloat) / 255 - mean) / std).permute({2, 0, 1}).unsqueeze(0).contiguous();
}

}  // namespace dualparal
