// SPDX-License-Identifier: Apache-2.0
#include "model/checkpoint/weights.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/detail/CUDAHooksInterface.h>

#include "base/errors.h"
#include "base/finite.h"

namespace dualparal {
namespace {

class CheckpointWeights final : public WeightSource {
 public:
  CheckpointWeights(Checkpoint checkpoint, Placement placement)
      : WeightSource(placement), checkpoint_(std::move(checkpoint)) {}

  void read_into(const std::string& name, at::Tensor target) override {
    skip(name, target.sizes());
    const at::Tensor stored = checkpoint_.tensor(name);
    target.copy_(stored);
    if (all_finite(target)) return;
    const std::string what = fmt::format("{}: tensor '{}'", checkpoint_.file_of(name), name);
    check_finite(stored, what);
    check_finite(target, fmt::format("{}, stored as {} and kept as {}", what, c10::toString(stored.scalar_type()),
                                     c10::toString(target.scalar_type())));
  }

  void skip(const std::string& name, at::IntArrayRef shape) override {
    const auto& entry = checkpoint_.entry(name);
    check(at::IntArrayRef(entry.shape) == shape, "{}: tensor '{}' expected shape [{}], got [{}]",
          checkpoint_.file_of(name), name, fmt::join(shape, ", "), fmt::join(entry.shape, ", "));
    check(at::isFloatingType(entry.dtype), "{}: tensor '{}' expected F32, BF16 or F16, got {}",
          checkpoint_.file_of(name), name, c10::toString(entry.dtype));
    known_.insert(name);
  }

  bool contains(const std::string& name) const override { return checkpoint_.contains(name); }

  void refuse_surplus() const override {
    for (const auto& [name, file] : checkpoint_.files())
      check(known_.contains(name), "{}: surplus tensor '{}' [{}]: the configuration in {} has no place for it",
            file->path().string(), name, fmt::join(checkpoint_.entry(name).shape, ", "),
            (checkpoint_.dir() / "config.json").string());
  }

 private:
  Checkpoint checkpoint_;
  std::set<std::string> known_;
};

class RandomWeights final : public WeightSource {
 public:
  RandomWeights(uint64_t seed, Placement placement) : WeightSource(placement), seed_(seed) {}

  void read_into(const std::string& name, at::Tensor target) override {
    if (name.ends_with(".bias")) {
      target.zero_();
    } else if (target.dim() == 1 || name.ends_with(".gamma")) {
      target.fill_(1);
    } else {
      const uint64_t seed = seed_ ^ std::hash<std::string>{}(name);
      if (target.is_cuda()) {  // a CPU takes twenty seconds for 1.3e9 of them, and every emulated rank has its own
        at::Generator generator = at::detail::getCUDAHooks().getNewGenerator(target.device().index());
        generator.set_current_seed(seed);
        target.normal_(0, 0.02, generator);
      } else if (target.is_cpu() && target.is_contiguous()) {
        target.normal_(0, 0.02, at::detail::createCPUGenerator(seed));
      } else {  // numbers depend on the layout that they are drawn into
        at::Tensor drawn = at::empty(target.sizes(), target.options().device(at::kCPU));
        target.copy_(drawn.normal_(0, 0.02, at::detail::createCPUGenerator(seed)));
      }
    }
  }
  void skip(const std::string&, at::IntArrayRef) override {}
  bool contains(const std::string&) const override { return true; }
  void refuse_surplus() const override {}

 private:
  uint64_t seed_;
};

class ShapesOnly final : public WeightSource {
 public:
  explicit ShapesOnly(at::ScalarType dtype) : WeightSource({at::Device(at::kMeta), dtype}) {}
  void read_into(const std::string&, at::Tensor) override {}
  void skip(const std::string&, at::IntArrayRef) override {}
  bool contains(const std::string&) const override { return false; }
  void refuse_surplus() const override {}
};

}  // namespace

at::Tensor WeightSource::read(const std::string& name, at::IntArrayRef shape, at::ScalarType dtype) {
  at::Tensor tensor = allocate(shape, dtype);
  read_into(name, tensor);
  return tensor;
}

at::Tensor WeightSource::allocate(at::IntArrayRef shape, at::ScalarType dtype) {
  at::Tensor tensor = at::empty(shape, at::TensorOptions().device(placement_.device).dtype(dtype));
  held_bytes_ += static_cast<int64_t>(tensor.nbytes());
  parameters_ += tensor.numel();
  return tensor;
}

std::unique_ptr<WeightSource> checkpoint_weights(Checkpoint checkpoint, Placement placement) {
  return std::make_unique<CheckpointWeights>(std::move(checkpoint), placement);
}

std::unique_ptr<WeightSource> random_weights(uint64_t seed, Placement placement) {
  return std::make_unique<RandomWeights>(seed, placement);
}

std::unique_ptr<WeightSource> shapes_only(at::ScalarType dtype) { return std::make_unique<ShapesOnly>(dtype); }

}  // namespace dualparal
