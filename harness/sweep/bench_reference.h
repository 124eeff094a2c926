// SPDX-License-Identifier: Apache-2.0
// What a point of an experiment is compared with: `single`, run on the point's own initial noise.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "harness/sweep/experiment.h"

namespace dualparal {

class References {
 public:
  /// Everything is kept in folder/.references: a run that goes on after a kill finds what is done.
  References(const std::filesystem::path& folder, bool quiet);

  /// For `generate`: flags that make a point leave its latents and its noise here.
  std::vector<std::string> arguments() const;
  /// Sets psnr_db, ssim and latent_relative_error in the line of a point that has just run with those flags, or
  /// reference_error.
  /// `single` runs once for all points that ask for the same video from the same noise.
  void fill(nlohmann::ordered_json& record, const Point& point);
  /// When every point is done.
  void remove();

 private:
  std::string key(const Point& point) const;
  std::string make(const Point& point, const std::filesystem::path& reference) const;
  std::string compare(const Point& point, const std::filesystem::path& reference, nlohmann::ordered_json& record) const;

  std::filesystem::path folder_, latents_, noise_, figures_;
  bool quiet_;
  std::map<std::string, std::string> failures_;  // key -> why `single` did not run; not tried again in this run
};

}  // namespace dualparal
