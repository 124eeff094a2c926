// SPDX-License-Identifier: Apache-2.0
// What a point of an experiment is compared with: `single`, run on the point's own initial noise. Strategies that are
// exact are held to it.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "harness/record/result_line.h"
#include "harness/sweep/experiment.h"

namespace dualparal {

/// Relative error up to which latents of a dtype ("fp32", "bf16", "fp16") are the same but for rounding: sums in
/// another order, over all layers and steps.
double largest_error(const std::string& dtype);

class References {
 public:
  /// Everything is kept in folder/.references: a run that goes on after a kill finds what is done.
  References(const std::filesystem::path& folder, bool quiet);

  /// For `generate`: flags that make a point leave its latents and its noise here.
  std::vector<std::string> arguments() const;
  /// For the line of a point that has just run with those flags. If its reference is wanted: psnr_db, ssim and
  /// latent_relative_error. If its strategy is exact: error_vs_single, and status failed if that is more than
  /// largest_error(). Without a reference: reference_error. `single` runs once for all points that ask for the same
  /// video from the same noise; its own points give their latents.
  void fill(ResultLine& line, const Point& point);
  /// When every point is done.
  void remove();

 private:
  std::string key(const Point& point) const;
  std::string make(const Point& point, const std::filesystem::path& reference) const;
  std::string compare(const Point& point, const std::filesystem::path& reference, ResultLine& line) const;

  std::filesystem::path folder_, latents_, noise_, figures_;
  bool quiet_;
  std::map<std::string, std::string> failures_;  // key -> why `single` did not run; not tried again in this run
};

}  // namespace dualparal
