// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/ATen.h>

#include <filesystem>
#include <vector>

namespace dualparal {

/// A safetensors file with `latents`, [1, channels, frames, h, w] fp32, that comes in pieces of some frames. Until it
/// is finished, they lie one by one in the folder <path>.partial, where they stay if the run ends early.
class LatentsFile {
 public:
  /// Takes the folder. Error if another run is writing there: their pieces would make one video of two.
  explicit LatentsFile(std::filesystem::path path);
  /// Gives the folder back; it stays if there are pieces in it.
  ~LatentsFile();
  LatentsFile(const LatentsFile&) = delete;
  LatentsFile& operator=(const LatentsFile&) = delete;

  /// The next frames. The first piece replaces those that an earlier run has left. Error if the folder is gone.
  void push(const at::Tensor& latents);
  /// Joins the pieces to the file, and removes them.
  void finish();

 private:
  bool take_folder();
  /// Whether the folder that was taken is still the one of that path.
  bool holds_folder() const;
  void check_folder() const;
  void remove_earlier_pieces() const;

  std::filesystem::path path_, folder_;
  int lock_ = -1;  // the folder, open and locked
  std::vector<std::filesystem::path> pieces_;
  int64_t frames_ = 0;  // in all of them
};

}  // namespace dualparal
