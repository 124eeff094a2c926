// SPDX-License-Identifier: Apache-2.0
#include "strategy/parallel/part_costs.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <mutex>
#include <utility>
#include <vector>

#include "base/device.h"
#include "base/errors.h"
#include "base/measure/work_meter.h"
#include "model/checkpoint/weights.h"
#include "model/ops/attention.h"
#include "model/ops/meta_kernels.h"

namespace dualparal {
namespace {

// How much dearer than an operation of a matrix product other things are, roughly: configs/clusters/ has the rates of
// GPUs (330 operations for each byte of memory traffic on an RTX 4090, 300 on an H100) and of a CPU's core.
struct Rates {
  double attention, byte, call;
};
constexpr Rates kGpu{1, 300, 0}, kCpu{2, 7, 2e5};

double cost(const Work& work, const Rates& rates) {
  return work.matmul_flops + rates.attention * work.attention_flops + rates.byte * work.moved_bytes +
         rates.call * static_cast<double>(work.operations);
}

// Sees as many tokens as a strategy's policy would, the others' keys and values being there already.
class SeesMore final : public SelfAttention {
 public:
  explicit SeesMore(int64_t more) : more_(more) {}
  at::Tensor attend(const AttentionInput& input) override {
    const at::Tensor query = input.placed_query();
    at::Tensor key = input.placed_key(), value = input.value;
    if (more_ > 0) {
      auto shape = key.sizes().vec();
      shape[1] = more_;
      const at::Tensor others = at::empty(shape, key.options());
      key = at::cat({key, others}, 1);
      value = at::cat({value, others}, 1);
    }
    return attention(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)).transpose(1, 2);
  }

 private:
  int64_t more_;
};

// Meta tensors stand for the device's for a while.
class TracedDevice {
 public:
  explicit TracedDevice(at::DeviceType type) : before_(runs_on(at::empty({0}, at::TensorOptions().device(at::kMeta)))) {
    set_traced_device(type);
  }
  ~TracedDevice() { set_traced_device(before_); }
  TracedDevice(const TracedDevice&) = delete;
  TracedDevice& operator=(const TracedDevice&) = delete;

 private:
  at::DeviceType before_;
};

at::ScalarType dtype_of(const Workload& work) { return work.element_bytes == 4 ? at::kFloat : at::kBFloat16; }

}  // namespace

double PartCosts::of(const TransformerParts& held) const {
  double total = (held.embed ? embed : 0) + (held.head ? head : 0);
  for (int64_t layer = held.layers.begin; layer < held.layers.end; ++layer) {
    const LayerShare share = held.layers.share(layer, 1000);
    for (int64_t part = 0; part < kLayerParts; ++part) {
      const auto tokens = static_cast<double>(share.at(static_cast<size_t>(part)).size());
      const double fixed = part == kSelfAttention ? key_value : 0;
      if (tokens > 0) total += fixed + tokens / 1000 * (parts.at(static_cast<size_t>(part)) - fixed);
    }
  }
  return total;
}

namespace {

PartCosts traced(const Workload& work, const TypicalWindow& window) {
  check(work.text_tokens > 0, "what a layer's parts cost was asked for without the number of text tokens");
  const c10::InferenceMode inference;
  register_meta_kernels();
  const TracedDevice device(work.device);
  TransformerConfig config = work.config;
  config.num_layers = 1;
  const auto weights = shapes_only(dtype_of(work));
  const Transformer layer(config, *weights, {{0, 1}, true, true});
  const auto meta = at::TensorOptions().device(at::kMeta);
  const TimeConditioning time = layer.time_conditioning(at::empty({1}, meta.dtype(at::kFloat)));
  const at::Tensor text = at::empty({work.batch, work.text_tokens, config.text_dim}, meta);
  const at::Tensor image =
      config.image_dim > 0 ? at::empty({1, work.image_tokens, config.image_dim}, meta) : at::Tensor();
  const TextContext context = layer.text_context(text, image);
  const int64_t pairs = config.attention_head_dim / 2;
  const RotaryTable rotary{at::empty({window.tokens, pairs}, meta.dtype(at::kFloat)),
                           at::empty({window.tokens, pairs}, meta.dtype(at::kFloat))};
  const at::Tensor hidden = at::empty({work.batch, window.tokens, config.dim()}, meta.dtype(dtype_of(work)));
  SeesMore attention(window.seen - window.tokens);

  const Rates& rates = work.device == at::kCPU ? kCpu : kGpu;
  const WorkMeter meter;
  const auto measure = [&](auto&& run) {
    const Work before = WorkMeter::now();
    run();
    return cost(WorkMeter::now() - before, rates);
  };
  const auto layers = [&](const LayerRange& range) {
    return measure([&] {
      at::Tensor state = hidden.clone();
      layer.forward_layers(range, state, time, context, rotary, attention);
    });
  };
  const double copy = measure([&] { return hidden.clone(); });
  PartCosts costs;
  const double whole = layers({0, 1});
  const double self = layers({0, 1, {}, {kCrossAttention, 0}}), to_cross = layers({0, 1, {}, {kFeedForward, 0}});
  // A half for each of two ranks is the whole and once more what every rank needs.
  const double half = layers({0, 1, {}, {kSelfAttention, 500}});
  costs.parts = {self - copy, to_cross - self, whole - to_cross};
  costs.key_value = std::clamp(2 * (half - copy) - costs.parts[0], 0.0, costs.parts[0] / 2);
  const auto& patch = config.patch_size;
  costs.embed = 2.0 * static_cast<double>(work.batch * window.tokens * config.dim() * config.in_channels * patch[0] *
                                          patch[1] * patch[2]);
  costs.head = measure([&] { return layer.project(hidden, time); });
  return costs;
}

// All that a trace depends on.
struct Subject {
  TransformerConfig config;
  int64_t batch, text_tokens, image_tokens, element_bytes;
  at::DeviceType device;
  int64_t tokens, seen;
  bool operator==(const Subject&) const = default;
};

}  // namespace

PartCosts trace_part_costs(const Workload& work, const TypicalWindow& window) {
  // A run is planned more than once in a process: whether it is possible, then by each rank, or each prompt.
  static std::mutex mutex;
  static std::vector<std::pair<Subject, PartCosts>> known;
  const Subject subject{work.config,        work.batch,  work.text_tokens, work.image_tokens,
                        work.element_bytes, work.device, window.tokens,    window.seen};
  const std::lock_guard lock(mutex);
  for (const auto& [other, costs] : known)
    if (other == subject) return costs;
  return known.emplace_back(subject, traced(work, window)).second;
}

}  // namespace dualparal
