// SPDX-License-Identifier: Apache-2.0
// Published models of two experts, and those that make videos from an image: their configurations, put together.
#include "model/wan/wan_model.h"

#include "tests/testing.h"

namespace dualparal::testing {
namespace {

const fs::path kModels = "configs/models";

struct Published {
  const char* name;
  double boundary, flow_shift;
  int64_t in_channels, image_dim, image_tokens;
  bool first_frame = false;
};
std::ostream& operator<<(std::ostream& out, const Published& model) { return out << model.name; }
const Published kPublished[] = {
    {"wan2.1-i2v-14b-480p", 0, 3, 36, 1280, 257},   {"wan2.1-i2v-14b-720p", 0, 5, 36, 1280, 257},
    {"wan2.1-flf2v-14b-720p", 0, 5, 36, 1280, 514}, {"wan2.2-t2v-a14b", 0.875, 3, 16, 0, 0},
    {"wan2.2-i2v-a14b", 0.9, 3, 36, 0, 0},          {"wan2.2-ti2v-5b", 0, 5, 48, 0, 0, true}};

BOOST_AUTO_TEST_SUITE(wan_model)

BOOST_DATA_TEST_CASE(what_a_model_needs_is_read, data::make(kPublished), model) {
  const WanModel read(kModels / model.name, true);
  BOOST_TEST(read.experts() == (model.boundary > 0 ? 2 : 1));
  BOOST_TEST(read.boundary_timestep() == 1000 * model.boundary);
  BOOST_TEST(read.from_image() == (model.in_channels == 36));
  BOOST_TEST(read.needs_image_embeds() == (model.image_dim > 0));
  if (model.image_dim > 0) BOOST_TEST(read.image_tokens() == model.image_tokens);
  BOOST_TEST(read.scheduler_config().flow_shift == model.flow_shift);
  const TransformerConfig& transformer = read.transformer_config();
  BOOST_TEST(transformer.in_channels == model.in_channels);
  BOOST_TEST(read.takes_first_frame() == model.first_frame);
  BOOST_TEST(transformer.out_channels == (model.first_frame ? 48 : 16));
  BOOST_TEST(transformer.image_dim == model.image_dim);
  BOOST_TEST(transformer.added_kv_proj_dim == (model.image_dim > 0 ? 5120 : 0));
  BOOST_TEST(transformer.num_layers == (model.first_frame ? 30 : 40));
  BOOST_TEST(read.geometry().spatial_stride == (model.first_frame ? 16 : 8));
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
