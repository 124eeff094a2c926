// SPDX-License-Identifier: Apache-2.0
// content_probe FILE.safetensors PROMPT: prints the content metric of `frames` [frames, height, width, 3] as JSON.
#include <exception>
#include <iostream>

#include "base/errors.h"
#include "harness/metrics/content.h"
#include "model/checkpoint/safetensors.h"

int main(int argc, char** argv) try {
  dualparal::check_usage(argc == 3, "usage: content_probe FILE.safetensors PROMPT");
  const at::Tensor frames = dualparal::SafetensorsFile::open(argv[1])->tensor("frames");
  dualparal::ContentMeter meter(argv[2]);
  for (const at::Tensor& frame : frames.unbind(0)) meter.push_frame(frame);
  std::cout << meter.result() << "\n";
  return 0;
} catch (const dualparal::UsageError& error) {
  std::cerr << "error: " << error.what() << "\n";
  return 2;
} catch (const std::exception& error) {
  std::cerr << "error: " << error.what() << "\n";
  return 1;
}
