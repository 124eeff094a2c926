// SPDX-License-Identifier: Apache-2.0
#include "model/wan/lora.h"

#include <cmath>
#include <optional>
#include <set>

#include "base/errors.h"
#include "base/finite.h"
#include "base/json.h"
#include "base/parse_json.h"

namespace dualparal {
namespace {

// What PEFT says of an adapter in the file's metadata, under `transformer.` or not.
struct AdapterMetadata {
  std::optional<double> alpha;
  bool by_root_of_rank = false;

  explicit AdapterMetadata(const SafetensorsFile& file) {
    const auto found = file.metadata().find("lora_adapter_metadata");
    if (found == file.metadata().end()) return;
    nlohmann::json json;
    try {
      json = parse_json(found->second);
    } catch (const nlohmann::json::exception& error) {
      fail("--lora {}: metadata 'lora_adapter_metadata' is not valid JSON: {}", file.path().string(), error.what());
    }
    const auto value = [&](const std::string& key) -> nlohmann::json {
      for (const std::string& name : {"transformer." + key, key})
        if (json.is_object() && json.contains(name)) return json[name];
      return nullptr;
    };
    for (const char* key : {"alpha_pattern", "use_dora"}) {
      const auto given = value(key);
      check(given.is_null() || given == false || (given.is_object() && given.empty()),
            "--lora {}: '{}' = {} in its metadata is not supported", file.path().string(), key, given.dump());
    }
    if (const auto given = value("lora_alpha"); given.is_number()) alpha = given.get<double>();
    by_root_of_rank = value("use_rslora") == true;
  }
};

// One file: which of its tensors change which module.
class Lora {
 public:
  explicit Lora(const LoraSpec& spec) : scale_(spec.scale), file_(SafetensorsFile::open(spec.file)), metadata_(*file_) {
    for (const auto& [key, entry] : file_->entries()) {
      const LoraName name = lora_name(spec.file, key);
      check(at::isFloatingType(entry.dtype) || name.part == "alpha",
            "{}: tensor '{}' expected F32, BF16 or F16, got {}", where(), key, c10::toString(entry.dtype));
      const auto [other, is_new] = modules_[name.module].emplace(name.part, key);
      check(is_new, "{}: tensors '{}' and '{}' are the same change twice", where(), other->second, key);
    }
  }

  /// What is added to a weight, fp32 on `device`; undefined: nothing. On the meta device only shapes are checked.
  at::Tensor change(const std::string& weight, at::IntArrayRef shape, const at::Device& device) {
    const auto [module, bias] = module_of(weight);
    const auto found = modules_.find(module);
    if (found == modules_.end()) return {};
    const Parts& parts = found->second;
    at::Tensor sum;
    const auto add = [&](const at::Tensor& more) { sum = sum.defined() ? sum + more : more; };
    if (!bias && (parts.contains("down") || parts.contains("up"))) {
      const Product product = checked_product(module, parts, shape);
      used_.insert({product.up, product.down});
      if (const auto alpha = parts.find("alpha"); alpha != parts.end()) used_.insert(alpha->second);
      if (!device.is_meta()) {
        const at::Tensor up = wide(product.up, device).flatten(1), down = wide(product.down, device).flatten(1);
        add(at::matmul(up, down).view(shape) * (scale_ * factor(parts, product.rank)));
      }
    }
    const auto add_difference = [&](const char* part, double scale) {
      const auto key = parts.find(part);
      if (key == parts.end()) return;
      used_.insert(key->second);
      expect_shape(key->second, shape);
      if (!device.is_meta()) add(wide(key->second, device) * scale);
    };
    add_difference(bias ? "diff_b" : "diff", scale_);
    if (bias && parts.contains("up_bias")) add_difference("up_bias", scale_ * factor(parts, rank_of(module, parts)));
    return sum;
  }

  void refuse_surplus() const {
    for (const auto& [module, parts] : modules_)
      for (const auto& [part, key] : parts)
        check(used_.contains(key), "{}: tensor '{}' changes nothing: the transformer has no '{}' for it", where(), key,
              module);
  }

 private:
  using Parts = std::map<std::string, std::string>;  // LoraName::part -> name of the tensor
  struct Product {
    std::string down, up;
    int64_t rank;
  };

  std::string where() const { return "--lora " + file_->path().string(); }

  static std::pair<std::string, bool> module_of(const std::string& weight) {
    for (const auto& [ending, bias] : {std::pair<std::string, bool>(".weight", false), {".bias", true}})
      if (weight.ends_with(ending)) return {weight.substr(0, weight.size() - ending.size()), bias};
    return {weight, false};  // scale_shift_table
  }

  Product checked_product(const std::string& module, const Parts& parts, at::IntArrayRef shape) const {
    const int64_t rank = rank_of(module, parts);
    const std::string &down = parts.at("down"), &up = parts.at("up");
    std::vector<int64_t> down_shape = shape.vec(), up_shape(shape.size(), 1);
    down_shape[0] = rank;
    up_shape[0] = shape[0];
    if (shape.size() > 1) up_shape[1] = rank;
    expect_shape(down, down_shape);
    expect_shape(up, up_shape);
    return {down, up, rank};
  }

  int64_t rank_of(const std::string& module, const Parts& parts) const {
    check(parts.contains("down") && parts.contains("up"), "{}: tensor '{}' has no counterpart: '{}' needs lora_{} too",
          where(), parts.begin()->second, module, parts.contains("down") ? "B (up)" : "A (down)");
    const auto& shape = file_->entries().at(parts.at("down")).shape;
    check(shape.size() >= 2 && shape[0] > 0, "{}: tensor '{}' expected [rank, in], got [{}]", where(), parts.at("down"),
          fmt::join(shape, ", "));
    return shape[0];
  }

  double factor(const Parts& parts, int64_t rank) const {
    const auto own = parts.find("alpha");
    if (own == parts.end() && !metadata_.alpha) return 1;
    if (own != parts.end())
      check(file_->tensor(own->second).numel() == 1, "{}: tensor '{}' expected one number", where(), own->second);
    const double alpha = own != parts.end() ? file_->tensor(own->second).item().toDouble() : *metadata_.alpha;
    check(std::isfinite(alpha), "{}: the alpha of tensor '{}' is {}", where(), parts.begin()->second, alpha);
    const auto all = static_cast<double>(rank);
    return alpha / (own == parts.end() && metadata_.by_root_of_rank ? std::sqrt(all) : all);
  }

  void expect_shape(const std::string& key, at::IntArrayRef shape) const {
    const auto& got = file_->entries().at(key).shape;
    check(shape == at::IntArrayRef(got), "{}: tensor '{}' expected shape [{}], got [{}]", where(), key,
          fmt::join(shape, ", "), fmt::join(got, ", "));
  }

  at::Tensor wide(const std::string& key, const at::Device& device) const {
    at::Tensor tensor = file_->tensor(key).to(device, at::kFloat);
    check(at::isfinite(tensor).all().item<bool>(), "{}: tensor '{}' has numbers that are not finite", where(), key);
    return tensor;
  }

  double scale_;
  std::shared_ptr<SafetensorsFile> file_;
  AdapterMetadata metadata_;
  std::map<std::string, Parts> modules_;
  std::set<std::string> used_;  // tensors that change something
};

class MergedWeights final : public WeightSource {
 public:
  MergedWeights(std::unique_ptr<WeightSource> inner, const std::vector<LoraSpec>& loras)
      : WeightSource(inner->placement()), inner_(std::move(inner)) {
    for (const LoraSpec& spec : loras) loras_.emplace_back(spec);
  }

  void read_into(const std::string& name, at::Tensor target) override {
    std::vector<at::Tensor> changes;
    for (Lora& lora : loras_)
      if (at::Tensor change = lora.change(name, target.sizes(), target.device()); change.defined())
        changes.push_back(change);
    if (changes.empty()) return inner_->read_into(name, target);
    at::Tensor wide = at::empty(target.sizes(), target.options().dtype(at::kFloat));
    inner_->read_into(name, wide);
    for (const at::Tensor& change : changes) wide.add_(change);
    target.copy_(wide);
    check_finite(target, fmt::format("--lora: '{}' with all that is added to it, kept as {}", name,
                                     c10::toString(target.scalar_type())));
  }

  void skip(const std::string& name, at::IntArrayRef shape) override {
    for (Lora& lora : loras_) lora.change(name, shape, at::kMeta);
    inner_->skip(name, shape);
  }

  bool contains(const std::string& name) const override { return inner_->contains(name); }

  void refuse_surplus() const override {
    inner_->refuse_surplus();
    for (const Lora& lora : loras_) lora.refuse_surplus();
  }

 private:
  std::unique_ptr<WeightSource> inner_;
  std::vector<Lora> loras_;
};

}  // namespace

std::unique_ptr<WeightSource> with_loras(std::unique_ptr<WeightSource> inner, const std::vector<LoraSpec>& loras) {
  if (loras.empty()) return inner;
  return std::make_unique<MergedWeights>(std::move(inner), loras);
}

}  // namespace dualparal
