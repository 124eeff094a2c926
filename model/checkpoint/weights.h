// SPDX-License-Identifier: Apache-2.0
// Where a part's weights come from: a checkpoint, or random numbers of the same shapes.
// A part asks for every tensor it knows by name and shape, those of layers that it does not hold too: so a wrong
// checkpoint is refused whatever is held, while only what is held is ever read.
#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <set>
#include <string>

#include "model/checkpoint/checkpoint.h"

namespace dualparal {

/// Where and how weights are kept once loaded.
struct Placement {
  at::Device device = at::kCPU;
  at::ScalarType dtype = at::kFloat;
};

class WeightSource {
 public:
  explicit WeightSource(Placement placement) : placement_(placement) {}
  virtual ~WeightSource() = default;

  const Placement& placement() const { return placement_; }

  /// Writes the tensor into `target` (a slice of a fused weight, say), converted to its dtype and device: one copy.
  /// A checkpoint's that holds NaN or infinity, as stored or in target's dtype, is an Error that names file and tensor.
  virtual void read_into(const std::string& name, at::Tensor target) = 0;
  /// Checks that the tensor exists with this shape, and reads nothing.
  virtual void skip(const std::string& name, at::IntArrayRef shape) = 0;
  /// True if the tensor is there; for tensors that a checkpoint may leave out.
  virtual bool contains(const std::string& name) const = 0;
  /// Error if the checkpoint holds tensors that were neither read nor skipped.
  virtual void refuse_surplus() const = 0;

  /// A new tensor with the weight, in the placement's dtype.
  at::Tensor read(const std::string& name, at::IntArrayRef shape) { return read(name, shape, placement_.dtype); }
  at::Tensor read(const std::string& name, at::IntArrayRef shape, at::ScalarType dtype);

  /// Bytes that all read() calls have allocated, and the numbers in them.
  int64_t held_bytes() const { return held_bytes_; }
  int64_t parameters() const { return parameters_; }
  /// A tensor for several weights side by side, to be filled with read_into().
  at::Tensor allocate(at::IntArrayRef shape, at::ScalarType dtype);

 private:
  Placement placement_;
  int64_t held_bytes_ = 0, parameters_ = 0;
};

/// The tensors of a checkpoint's part.
std::unique_ptr<WeightSource> checkpoint_weights(Checkpoint checkpoint, Placement placement);

/// Normal numbers of standard deviation 0.02 (ones for norms, zeros for biases), the same for the same seed,
/// tensor name and kind of device, on which they are drawn. For measuring models whose checkpoint is not at hand.
std::unique_ptr<WeightSource> random_weights(uint64_t seed, Placement placement);

/// Shapes alone: nothing is read, tensors are meta tensors.
std::unique_ptr<WeightSource> shapes_only(at::ScalarType dtype);

}  // namespace dualparal
