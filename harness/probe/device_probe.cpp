// SPDX-License-Identifier: Apache-2.0
#include "harness/probe/device_probe.h"

#include <c10/core/InferenceMode.h>

#include <functional>
#include <vector>

#include "base/clock.h"
#include "base/device.h"
#include "base/errors.h"
#include "harness/record/statistics.h"
#include "model/ops/attention.h"

namespace dualparal {
namespace {

constexpr size_t kFewestRounds = 3;

// What is measured: of the shapes of Wan2.1-1.3B, so many tokens at a time that a round takes milliseconds.
struct Sizes {
  int64_t tokens, in, out;        // of a product
  int64_t heads, head_dim, seen;  // of attention: as many queries as keys
  int64_t channels, image;        // of a convolution
  int64_t copy_bytes;
};
constexpr Sizes kCpu{512, 1536, 1536, 4, 128, 512, 96, 64, 128 << 20};
constexpr Sizes kGpu{8192, 1536, 8960, 12, 128, 8192, 96, 512, 1 << 30};

// Seconds of a round: median of as many as fill the time.
double seconds_of(const at::Device& device, double seconds, const std::function<void()>& round) {
  round();  // kernels are loaded, memory is there
  synchronize(device);
  std::vector<double> rounds;
  const Stopwatch all;
  while (rounds.size() < kFewestRounds || all.seconds() < seconds) {
    const Stopwatch one;
    round();
    synchronize(device);
    rounds.push_back(one.seconds());
  }
  return median(rounds);
}

double operation_seconds(const at::Device& device, double seconds) {
  constexpr int kOperations = 1000;
  at::Tensor x = at::zeros({1}, at::TensorOptions().device(device));
  std::vector<double> rounds;
  const Stopwatch all;
  while (rounds.size() < kFewestRounds || all.seconds() < seconds) {
    const Stopwatch one;
    for (int i = 0; i < kOperations; ++i) x.add_(1);
    rounds.push_back(one.seconds() / kOperations);  // the host's time: the device goes on by itself
    synchronize(device);
  }
  return median(rounds);
}

double product_rate(const at::Device& device, const Sizes& sizes, at::ScalarType dtype, double seconds) {
  const auto options = at::TensorOptions().device(device).dtype(dtype);
  const at::Tensor x = at::ones({sizes.tokens, sizes.in}, options), weight = at::ones({sizes.out, sizes.in}, options);
  const double flops = 2.0 * static_cast<double>(sizes.tokens * sizes.in * sizes.out);
  return flops / seconds_of(device, seconds, [&] { at::linear(x, weight); });
}

}  // namespace

DeviceRates measure_device(const at::Device& device, const std::string& dtype, double seconds) {
  const c10::InferenceMode inference;
  const Sizes& sizes = device.is_cpu() ? kCpu : kGpu;
  const auto options = at::TensorOptions().device(device).dtype(parse_dtype(dtype));
  DeviceRates rates;
  // fp16 is no choice on a CPU: its products are emulated on most.
  for (const std::string name : {"fp32", "bf16", "fp16"})
    if (name == dtype || name != "fp16" || !device.is_cpu())
      rates.product_flops_per_s[name] = product_rate(device, sizes, parse_dtype(name), seconds);

  const at::Tensor query = at::ones({1, sizes.heads, sizes.seen, sizes.head_dim}, options);
  const double attention_flops = 4.0 * static_cast<double>(sizes.heads * sizes.seen * sizes.seen * sizes.head_dim);
  rates.attention_flops_per_s = attention_flops / seconds_of(device, seconds, [&] { attention(query, query, query); });

  const at::Tensor image = at::ones({1, sizes.channels, sizes.image, sizes.image}, options);
  const at::Tensor filters = at::ones({sizes.channels, sizes.channels, 3, 3}, options);
  const double convolution_flops =
      2.0 * 9 * static_cast<double>(sizes.channels * sizes.channels * sizes.image * sizes.image);
  rates.convolution_flops_per_s =
      convolution_flops / seconds_of(device, seconds, [&] { at::conv2d(image, filters, {}, 1, 1); });

  const at::Tensor source = at::ones({sizes.copy_bytes}, at::TensorOptions().device(device).dtype(at::kByte));
  at::Tensor target = at::empty_like(source);
  rates.copy_bytes_per_s =
      2.0 * static_cast<double>(sizes.copy_bytes) / seconds_of(device, seconds, [&] { target.copy_(source); });
  rates.operation_s = operation_seconds(device, seconds);
  return rates;
}

nlohmann::ordered_json to_json(const DeviceRates& rates) {
  return {{"product_flops_per_s", rates.product_flops_per_s},
          {"attention_flops_per_s", rates.attention_flops_per_s},
          {"convolution_flops_per_s", rates.convolution_flops_per_s},
          {"copy_bytes_per_s", rates.copy_bytes_per_s},
          {"operation_s", rates.operation_s}};
}

DeviceRates device_rates_of(const nlohmann::ordered_json& json) {
  return {.product_flops_per_s = json.at("product_flops_per_s").get<std::map<std::string, double>>(),
          .attention_flops_per_s = json.at("attention_flops_per_s"),
          .convolution_flops_per_s = json.at("convolution_flops_per_s"),
          .copy_bytes_per_s = json.at("copy_bytes_per_s"),
          .operation_s = json.at("operation_s")};
}

DeviceRates median_rates(const std::vector<DeviceRates>& by_rank) {
  check(!by_rank.empty(), "rates of no rank");
  const auto of_all = [&](const auto& figure) {
    std::vector<double> values;
    for (const DeviceRates& rates : by_rank) values.push_back(figure(rates));
    return median(values);
  };
  DeviceRates out;
  for (const auto& [dtype, rate] : by_rank[0].product_flops_per_s)
    out.product_flops_per_s[dtype] =
        of_all([&dtype = dtype](const DeviceRates& r) { return r.product_flops_per_s.at(dtype); });
  for (double DeviceRates::*figure : {&DeviceRates::attention_flops_per_s, &DeviceRates::convolution_flops_per_s,
                                      &DeviceRates::copy_bytes_per_s, &DeviceRates::operation_s})
    out.*figure = of_all([figure](const DeviceRates& r) { return r.*figure; });
  return out;
}

}  // namespace dualparal
