// SPDX-License-Identifier: Apache-2.0
// Micro-benchmarks of the model's parts. Weights are random: time does not depend on their values.
//   build/benchmarks/micro_benchmarks --benchmark_filter=Layer
#include <benchmark/benchmark.h>
#include <c10/core/InferenceMode.h>

#include "base/device.h"
#include "base/measure/memory.h"
#include "model/wan/wan_model.h"
#include "strategy/denoise/local_attention.h"

namespace dualparal {
namespace {

const at::ScalarType kDtypes[] = {at::kFloat, at::kBFloat16};

std::filesystem::path models() { return std::filesystem::path(DUALPARAL_SOURCE_DIR); }

// One layer: heads x head_dim wide, `tokens` tokens.
void Layer(benchmark::State& state) {
  const c10::InferenceMode inference;
  TransformerConfig config;
  config.num_attention_heads = state.range(0);
  config.attention_head_dim = state.range(1);
  const int64_t tokens = state.range(2);
  config.ffn_dim = config.num_attention_heads == 12 ? 8960 : 4 * config.dim();
  config.num_layers = 1;
  config.text_dim = 64;
  const auto weights = random_weights(0, {at::kCPU, kDtypes[state.range(3)]});
  const Transformer model(config, *weights, {{0, 1}, false, false});
  const TextContext text = model.text_context(at::randn({1, 32, config.text_dim}));
  const auto time = model.time_conditioning(at::full({1}, 500.0));
  const RotaryTable rotary = model.rotary().table({1, 1, tokens}, 0, at::kCPU);
  const at::Tensor input = at::randn({1, tokens, config.dim()}).to(model.dtype());
  LocalAttention attention;
  for (auto _ : state) {
    at::Tensor hidden = input.clone();
    model.forward_layers({0, 1}, hidden, time, text, rotary, attention);
    benchmark::DoNotOptimize(hidden.data_ptr());
  }
  const double dim = static_cast<double>(config.dim()), n = static_cast<double>(tokens);
  const double flops = n * (2 * dim * (6 * dim + 2 * static_cast<double>(config.ffn_dim)) + 4 * n * dim);
  state.counters["FLOP/s"] = benchmark::Counter(flops, benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(Layer)
    ->ArgNames({"heads", "head_dim", "tokens", "bf16"})
    ->ArgsProduct({{6}, {32}, {216, 384}, {0, 1}})
    ->ArgsProduct({{12}, {128}, {1560}, {0, 1}})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

void Attention(benchmark::State& state) {
  const c10::InferenceMode inference;
  const int64_t heads = state.range(0), head_dim = state.range(1), tokens = state.range(2);
  const auto options = at::TensorOptions().dtype(kDtypes[state.range(3)]);
  const auto part = [&] { return at::randn({1, tokens, heads, head_dim}, options); };
  const at::Tensor query = part(), key = part(), value = part();
  // The time axis is the longest: as many "frames" as tokens of one patch.
  const RotaryTable rotary = RotaryEmbedding(head_dim, tokens).table({tokens, 1, 1}, 0, at::kCPU);
  LocalAttention attention;
  for (auto _ : state) benchmark::DoNotOptimize(attention.attend({0, query, key, value, rotary}).data_ptr());
  const double flops = 4.0 * static_cast<double>(tokens * tokens * heads * head_dim);
  state.counters["FLOP/s"] = benchmark::Counter(flops, benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(Attention)
    ->ArgNames({"heads", "head_dim", "tokens", "bf16"})
    ->ArgsProduct({{6}, {32}, {216, 384}, {0, 1}})
    ->ArgsProduct({{12}, {128}, {1560}, {0, 1}})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

// Streaming decode: the counter shows that peak memory does not depend on the length.
void VaeDecode(benchmark::State& state) {
  const c10::InferenceMode inference;
  const WanModel model(models() / "models/moving-shapes", false);
  const auto vae = model.load_vae({at::kCPU, at::kFloat}, Vae::Parts::kDecoder);
  const int64_t frames = state.range(0);
  const at::Tensor latent = at::randn({1, model.vae_config().z_dim, 1, 8, 12});
  reset_peak_memory(at::kCPU);
  for (auto _ : state) {
    Vae::Stream stream(*vae);
    for (int64_t i = 0; i < model.geometry().latent_frames(frames); ++i)
      benchmark::DoNotOptimize(stream.decode(latent).data_ptr());
  }
  state.counters["frames/s"] =
      benchmark::Counter(static_cast<double>(frames), benchmark::Counter::kIsIterationInvariantRate);
  state.counters["peak_MiB"] = static_cast<double>(memory_usage(at::kCPU).peak_allocated_bytes) / (1 << 20);
}
BENCHMARK(VaeDecode)
    ->ArgName("frames")
    ->Arg(33)
    ->Arg(129)
    ->Arg(513)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime()
    ->MinTime(0.1);

void CheckpointLoad(benchmark::State& state) {
  const c10::InferenceMode inference;
  const WanModel model(models() / "models/moving-shapes", false);
  int64_t bytes = 0;
  for (auto _ : state)
    bytes = model.load_transformer({at::kCPU, kDtypes[state.range(0)]}, model.whole())->weights_bytes();
  state.counters["bytes/s"] =
      benchmark::Counter(static_cast<double>(bytes), benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(CheckpointLoad)->ArgName("bf16")->Arg(0)->Arg(1)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
}  // namespace dualparal

int main(int argc, char** argv) {
  dualparal::count_cpu_memory();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
}
