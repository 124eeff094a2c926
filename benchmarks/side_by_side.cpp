// SPDX-License-Identifier: Apache-2.0
// Our half of compare_diffusers.py: loads a transformer and, for every line "run" on standard input, times one
// prediction and prints the seconds. So both halves alternate within one run.
//   side_by_side TRANSFORMER_DIR INPUTS.safetensors OUTPUT.safetensors DEVICE DTYPE THREADS
// Inputs: hidden_states [batch, channels, frames, h, w], timestep [1], encoder_hidden_states [batch, tokens, text_dim].
// The text context is made once, as in a run of many steps.
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <iostream>

#include "base/clock.h"
#include "base/device.h"
#include "base/errors.h"
#include "model/checkpoint/safetensors.h"
#include "model/wan/transformer.h"
#include "strategy/denoise/local_attention.h"

namespace dualparal {
namespace {

void serve(char** argv) {
  const c10::InferenceMode inference;
  const at::Device device = parse_device(argv[4]);
  const at::ScalarType dtype = parse_dtype(argv[5]);
  at::set_num_threads(std::stoi(argv[6]));
  const std::filesystem::path dir = argv[1];
  const auto config = read_transformer_config(dir / "config.json");
  const auto weights = checkpoint_weights(Checkpoint(dir), {device, dtype});
  const Transformer model(config, *weights, {{0, config.num_layers}, true, true});
  const auto inputs = SafetensorsFile::open(argv[2]);
  const at::Tensor latents = inputs->tensor("hidden_states").to(device, dtype);
  const at::Tensor timestep = inputs->tensor("timestep").to(device);
  const TextContext text = model.text_context(inputs->tensor("encoder_hidden_states"));
  const TokenGrid grid = model.grid(latents.sizes());
  const RotaryTable rotary = model.rotary().table(grid, 0, device);
  LocalAttention attention;
  const auto predict = [&] {
    const auto time = model.time_conditioning(timestep);
    at::Tensor hidden = model.embed(latents);
    model.forward_layers(model.parts().layers, hidden, time, text, rotary, attention);
    at::Tensor prediction = model.head(hidden, time, grid);
    synchronize(device);
    return prediction;
  };
  write_safetensors(argv[3], {{"sample", predict().to(at::kFloat)}});
  std::cout << "ready" << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    const Stopwatch watch;
    predict();
    std::cout << watch.seconds() << std::endl;
  }
}

}  // namespace
}  // namespace dualparal

int main(int argc, char** argv) {
  try {
    dualparal::check(argc == 7, "usage: side_by_side TRANSFORMER_DIR INPUTS OUTPUT DEVICE DTYPE THREADS");
    dualparal::serve(argv);
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << std::endl;
    return 1;
  }
  return 0;
}
