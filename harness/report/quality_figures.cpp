// SPDX-License-Identifier: Apache-2.0
#include "harness/report/quality_figures.h"

namespace dualparal {

const std::vector<QualityFigure>& quality_figures() {
  static const std::vector<QualityFigure> figures = {
      {"flicker", "flicker", 4, Better::kHigher},
      {"seam_ratio", "seam ratio", 3, Better::kNearOne},
      {"seam_ratio_in_phase", "seam in phase", 3, Better::kNearOne},
      {"drift", "drift", 4, Better::kLower},
      {"repetition", "repetition", 3, Better::kLower},
      {"dynamic_degree_px", "motion px", 2, Better::kNeither},
      {"still_frames", "still", 3, Better::kLower},
      {"largest_motion_px", "largest motion px", 1, Better::kLower},
      {"border_motion_ratio", "motion at borders", 2, Better::kNearOne},
      {"loop", "loop", 3, Better::kLower},
      {"loop_lag_frames", "loop lag", 0, Better::kNeither},
      {"similarity_2", "similar 2", 4, Better::kHigher},
      {"similarity_5", "similar 5", 4, Better::kHigher},
      {"similarity_10", "similar 10", 4, Better::kHigher},
      {"similarity_20", "similar 20", 4, Better::kHigher},
      {"similarity_50", "similar 50", 4, Better::kHigher},
      {"first_frame_ratio", "first frame", 2, Better::kNearOne},
      {"content", "content", 3, Better::kHigher},
      {"content_first_frame", "content first", 3, Better::kHigher},
      {"content_later_frames", "content later", 3, Better::kHigher},
      {"identity_switches_per_100_frames", "switches /100", 2, Better::kLower},
      {"largest_jump_px", "largest jump px", 1, Better::kLower},
      {"psnr_db", "PSNR dB", 2, Better::kHigher},
      {"ssim", "SSIM", 4, Better::kHigher},
      {"latent_relative_error", "latent error", 6, Better::kLower},
  };
  return figures;
}

}  // namespace dualparal
