// SPDX-License-Identifier: Apache-2.0
#include "model/checkpoint/weights.h"

#include <cmath>

#include "model/ops/layers.h"
#include "tests/model/tiny.h"

namespace dualparal::testing {
namespace {

const std::vector<at::ScalarType> kFloating = {at::kFloat, at::kBFloat16, at::kHalf};

// A part of a checkpoint with these tensors, and a source that reads it.
struct Stored {
  explicit Stored(const std::map<std::string, at::Tensor>& tensors, at::ScalarType dtype = at::kFloat) {
    write_safetensors(folder / "model.safetensors", tensors);
    source = checkpoint_weights(Checkpoint(folder.path()), {at::kCPU, dtype});
  }
  TempFolder folder;
  std::unique_ptr<WeightSource> source;
};

// Notes the names and shapes that a part asks for.
class Recording final : public WeightSource {
 public:
  Recording() : WeightSource({}) {}
  void read_into(const std::string& name, at::Tensor target) override { skip(name, target.sizes()); }
  void skip(const std::string& name, at::IntArrayRef shape) override { tensors[name] = at::ones(shape); }
  bool contains(const std::string&) const override { return true; }
  void refuse_surplus() const override {}

  std::map<std::string, at::Tensor> tensors;
};

std::vector<at::Tensor> some_random(uint64_t seed, at::ScalarType dtype = at::kFloat) {
  const auto source = random_weights(seed, {at::kCPU, dtype});
  return {source->read("a.weight", {40, 50}), source->read("b.weight", {40, 50})};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(model_weights)

BOOST_DATA_TEST_CASE(a_checkpoints_numbers_arrive_in_the_wanted_dtype, data::make(kFloating) * data::make(kFloating),
                     stored, wanted) {
  const at::Tensor a = randn({3, 5}, 1, stored), b = randn({4}, 2, stored);
  const Stored part({{"a", a}, {"b", b}}, wanted);
  BOOST_TEST(identical(part.source->read("a", {3, 5}), a.to(wanted)));
  BOOST_TEST(identical(part.source->read("b", {4}, at::kFloat), b.to(at::kFloat)));  // of its own, whatever the model's
  BOOST_TEST(part.source->held_bytes() == static_cast<int64_t>(15 * at::elementSize(wanted) + 4 * 4));
  BOOST_CHECK_NO_THROW(part.source->refuse_surplus());
}

BOOST_AUTO_TEST_CASE(numbers_that_are_not_finite_are_refused) {
  at::Tensor a = randn({3, 5}, 1), b = a.clone();
  a[1][2] = NAN;
  b[2][4] = 70000;  // more than fp16 holds
  const Stored wide({{"a", a}, {"b", b}}), narrow({{"a", a}, {"b", b}}, at::kHalf);
  const std::string file = (wide.folder / "model.safetensors").string();
  expect_error({file, "'a'", "nan at [1, 2]"}, [&] { wide.source->read("a", {3, 5}); });
  BOOST_TEST(identical(wide.source->read("b", {3, 5}), b));
  expect_error({"'a'", "nan at [1, 2]"}, [&] { narrow.source->read("a", {3, 5}); });
  expect_error({"'b'", "stored as Float and kept as Half", "inf at [2, 4]"}, [&] { narrow.source->read("b", {3, 5}); });
  const WeightScope scope{*wide.source, ""};
  expect_error({file, "'a'", "nan"}, [&] { scope.read_stacked({"b", "a"}, {3, 5}); });
}

BOOST_AUTO_TEST_CASE(what_was_read_is_no_view_of_the_file) {
  const at::Tensor a = randn({3}, 1);
  Stored part({{"a", a}});
  part.source->read("a", {3}).zero_();
  BOOST_TEST(identical(part.source->read("a", {3}), a));
}

BOOST_AUTO_TEST_CASE(stacked_weights_lie_one_below_the_other) {
  const at::Tensor q = randn({2, 3}, 1), k = randn({2, 3}, 2), v = randn({2, 3}, 3);
  const Stored part({{"x.q", q}, {"x.k", k}, {"x.v", v}}, at::kBFloat16);
  const WeightScope scope = WeightScope{*part.source, ""} / "x";
  BOOST_TEST(identical(scope.read_stacked({"q", "k", "v"}, {2, 3}), at::cat({q, k, v}).to(at::kBFloat16)));
  BOOST_TEST(part.source->held_bytes() == 18 * 2);
  BOOST_CHECK_NO_THROW(part.source->refuse_surplus());
  expect_error({"'x.k'", "[3, 3]", "[2, 3]"}, [&] { scope.read_stacked({"k"}, {3, 3}); });
  expect_error({"'x.o'", "missing"}, [&] { scope.read_stacked({"q", "o"}, {2, 3}); });
}

BOOST_DATA_TEST_CASE(what_is_not_held_is_checked_all_the_same, data::make({true, false}), held) {
  const Stored part({{"a", randn({2, 3}, 1)}, {"ids", at::ones({2}, at::kLong)}});
  const WeightScope scope = WeightScope{*part.source, ""}.only_if(held);
  const std::string file = (part.folder / "model.safetensors").string();
  expect_error({file, "'a'", "[3, 2]", "[2, 3]"}, [&] { scope.read("a", {3, 2}); });
  expect_error({file, "'a'", "[2, 3, 1]"}, [&] { scope.read("a", {2, 3, 1}); });
  expect_error({file, "'ids'", "F32"}, [&] { scope.read("ids", {2}); });
  expect_error({part.folder.path().string(), "'b'", "missing"}, [&] { scope.read("b", {1}); });
  expect_error({"'b'", "missing"}, [&] { scope.read_stacked({"a", "b"}, {2, 3}); });
  expect_error({file, "'a'", "[4]"}, [&] { scope.read_stacked({"a"}, {4}); });
  BOOST_TEST(scope.read("a", {2, 3}).defined() == held);
}

BOOST_AUTO_TEST_CASE(what_is_not_held_takes_no_memory_and_stays_so_below) {
  const Stored part({{"x.y.a", randn({2, 3}, 1)}, {"x.y.b", randn({2, 3}, 2)}});
  const WeightScope below = WeightScope{*part.source, ""}.only_if(false) / "x" / "y";
  BOOST_TEST(!below.only_if(true).read("a", {2, 3}).defined());
  BOOST_TEST(!below.read_stacked({"a", "b"}, {2, 3}).defined());
  BOOST_TEST(part.source->held_bytes() == 0);
  BOOST_CHECK_NO_THROW(part.source->refuse_surplus());
}

BOOST_AUTO_TEST_CASE(tensors_that_nobody_asked_for_are_refused) {
  const Stored part({{"a", randn({2}, 1)}, {"extra", randn({2, 7}, 2)}});
  BOOST_TEST(part.source->contains("extra"));
  BOOST_TEST(!part.source->contains("more"));
  part.source->read("a", {2});
  expect_error({(part.folder / "model.safetensors").string(), "'extra'", "[2, 7]", "config.json"},
               [&] { part.source->refuse_surplus(); });
  part.source->skip("extra", {2, 7});
  BOOST_CHECK_NO_THROW(part.source->refuse_surplus());
}

BOOST_AUTO_TEST_CASE(a_transformer_is_checked_whole_whatever_is_held) {
  const auto load = [](const Stored& part, LayerRange layers) {
    Transformer(tiny_transformer(), *part.source, {layers, false, false});
  };
  Recording recording;
  Transformer(tiny_transformer(), recording, {{1, 2}, false, false});
  auto tensors = recording.tensors;
  BOOST_CHECK_NO_THROW(load(Stored(tensors), {1, 2}));
  BOOST_CHECK_NO_THROW(load(Stored(tensors), {0, 5}));
  for (const char* name :
       {"blocks.4.attn1.to_k.weight", "patch_embedding.bias", "proj_out.weight", "scale_shift_table"}) {
    auto wrong = tensors;
    wrong[name] = at::ones({7, 7});
    expect_error({std::string("'") + name + "'", "[7, 7]"}, [&] { load(Stored(wrong), {1, 2}); });
    wrong.erase(name);
    expect_error({std::string("'") + name + "'", "missing"}, [&] { load(Stored(wrong), {1, 2}); });
  }
  tensors["blocks.5.attn1.to_k.weight"] = at::ones({60, 60});
  expect_error({"'blocks.5.attn1.to_k.weight'", "surplus"}, [&] { load(Stored(tensors), {1, 2}); });
}

BOOST_AUTO_TEST_CASE(random_weights_depend_on_seed_and_name) {
  const auto first = some_random(7), again = some_random(7), other = some_random(8);
  for (size_t i = 0; i < first.size(); ++i) {
    BOOST_TEST(identical(first[i], again[i]));
    BOOST_TEST(!at::equal(first[i], other[i]));
  }
  BOOST_TEST(!at::equal(first[0], first[1]));
  BOOST_TEST(first[0].mean().abs().item<double>() < 0.002);  // 2000 numbers: deviations of 0.0005 are usual
  BOOST_TEST(std::abs(first[0].std().item<double>() - 0.02) < 0.002);
  BOOST_TEST((some_random(7, at::kBFloat16)[0].scalar_type() == at::kBFloat16));
}

BOOST_AUTO_TEST_CASE(random_norms_are_ones_and_biases_zeros) {
  const auto source = random_weights(1, {});
  BOOST_TEST(identical(source->read("norm.weight", {5}), at::ones({5})));
  BOOST_TEST(identical(source->read("norm.gamma", {5, 1, 1, 1}), at::ones({5, 1, 1, 1})));
  BOOST_TEST(identical(source->read("linear.bias", {5}), at::zeros({5})));
}

BOOST_AUTO_TEST_CASE(random_weights_are_the_same_whatever_else_is_held) {
  const auto all = random_weights(3, {}), one = random_weights(3, {});
  all->read("a.weight", {8, 9});
  all->skip("b.weight", {8, 9});
  BOOST_TEST(identical(all->read("c.weight", {8, 9}), one->read("c.weight", {8, 9})));
  // A slice of a fused weight gets what the weight alone would get.
  at::Tensor fused = one->allocate({16, 9}, at::kFloat);
  one->read_into("c.weight", fused.slice(0, 8, 16));
  BOOST_TEST(identical(fused.slice(0, 8, 16), all->read("c.weight", {8, 9})));
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace dualparal::testing
