// SPDX-License-Identifier: Apache-2.0
#include "model/wan/vae.h"

#include "base/errors.h"
#include "base/measure/memory.h"
#include "tests/model/tiny.h"

namespace dualparal {
using namespace testing;

// Wan 2.2's: shortcuts, patches of pixels, another width for the decoder.
static VaeConfig residual_vae() {
  VaeConfig config;
  config.base_dim = 4;
  config.decoder_base_dim = 6;
  config.z_dim = 5;
  config.num_res_blocks = 1;
  config.is_residual = true;
  config.patch_size = 2;
  config.latents_mean = std::vector<double>(5, 0.1);
  config.latents_std = std::vector<double>(5, 1.5);
  return config;
}

BOOST_AUTO_TEST_SUITE(vae)

BOOST_AUTO_TEST_CASE(a_residual_one_in_pieces_is_as_in_the_whole) {
  LargeWeights weights;
  const Vae model(residual_vae(), weights, Vae::Parts::kBoth);
  BOOST_TEST(model.config().spatial_stride() == 16);
  const at::Tensor pixels = at::rand({1, 3, 13, 32, 48}) * 2 - 1, latents = at::randn({1, 5, 4, 2, 3});
  const at::Tensor encoded = model.encode(pixels), decoded = model.decode(latents);
  BOOST_TEST(encoded.sizes() == at::IntArrayRef({1, 5, 4, 2, 3}));
  BOOST_TEST(decoded.sizes() == at::IntArrayRef({1, 3, 13, 32, 48}));
  Vae::EncodeStream encoder(model);
  Vae::Stream decoder(model);
  for (int64_t frame = 0; frame < 4; ++frame) {
    const at::Tensor piece = encoder.encode(pixels.slice(2, frame == 0 ? 0 : 4 * frame - 3, 4 * frame + 1));
    BOOST_TEST(identical(piece, encoded.slice(2, frame, frame + 1)));
    const at::Tensor frames = decoder.decode(latents.slice(2, frame, frame + 1));
    BOOST_TEST(identical(frames, decoded.slice(2, frame == 0 ? 0 : 4 * frame - 3, 4 * frame + 1)));
  }
}

BOOST_AUTO_TEST_CASE(streams_take_no_more_memory_for_a_longer_video) {
  count_cpu_memory();
  LargeWeights weights;
  const Vae model(residual_vae(), weights, Vae::Parts::kBoth);
  const at::Tensor first = at::rand({1, 3, 1, 32, 48}), later = at::rand({1, 3, 4, 32, 48}),
                   latent = at::randn({1, 5, 1, 2, 3});
  const auto peak = [&](int64_t chunks) {
    Vae::EncodeStream encoder(model);
    Vae::Stream decoder(model);
    reset_peak_memory(at::kCPU);
    const int64_t before = memory_usage(at::kCPU).allocated_bytes;
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      encoder.encode(chunk == 0 ? first : later);
      decoder.decode(latent);
    }
    return memory_usage(at::kCPU).peak_allocated_bytes - before;
  };
  peak(3);  // what is kept for the shapes is made
  BOOST_TEST(peak(12) <= 1.001 * peak(4));  // a few bytes of names and lists
}

BOOST_AUTO_TEST_CASE(shortcuts_that_do_not_divide_are_errors) {
  VaeConfig config = residual_vae();
  config.dim_mult = {3, 7, 7, 7};
  LargeWeights weights;
  const Vae model(config, weights, Vae::Parts::kBoth);
  expect_error({"shortcut", "average"}, [&] { model.encode(at::zeros({1, 3, 1, 32, 48})); });
}

BOOST_AUTO_TEST_CASE(pieces_decode_as_the_whole) {
  const Vae model(tiny_vae(), *tiny_weights(), Vae::Parts::kDecoder);
  const at::Tensor latents = at::randn({1, 16, 7, 2, 3});
  const at::Tensor whole = model.decode(latents);
  BOOST_TEST(whole.sizes() == at::IntArrayRef({1, 3, 25, 16, 24}));
  for (const int64_t piece : {1, 2, 3, 5}) {
    Vae::Stream stream(model);
    std::vector<at::Tensor> frames;
    for (int64_t begin = 0; begin < 7; begin += piece)
      frames.push_back(stream.decode(latents.slice(2, begin, std::min<int64_t>(begin + piece, 7))));
    BOOST_TEST(frames[0].size(2) == 4 * piece - 3);
    BOOST_TEST(at::equal(at::cat(frames, 2), whole));
  }
}

BOOST_AUTO_TEST_CASE(causal) {
  const Vae model(tiny_vae(), *tiny_weights(), Vae::Parts::kBoth);
  at::Tensor pixels = at::rand({1, 3, 13, 16, 24}) * 2 - 1;
  const at::Tensor before = model.encode(pixels);
  BOOST_TEST(before.sizes() == at::IntArrayRef({1, 16, 4, 2, 3}));
  pixels.slice(2, 9).fill_(0.3);  // changes only what comes after: latent frame 3
  const at::Tensor after = model.encode(pixels);
  BOOST_TEST(at::equal(before.slice(2, 0, 3), after.slice(2, 0, 3)));
  BOOST_TEST(!at::equal(before.slice(2, 3), after.slice(2, 3)));
}

BOOST_AUTO_TEST_CASE(wrong_shapes_are_errors) {
  const Vae decoder(tiny_vae(), *tiny_weights(), Vae::Parts::kDecoder);
  BOOST_CHECK_THROW(decoder.encode(at::zeros({1, 3, 1, 16, 16})), Error);  // not loaded
  BOOST_CHECK_THROW(decoder.decode(at::zeros({1, 15, 1, 2, 2})), Error);
  const Vae both(tiny_vae(), *tiny_weights(), Vae::Parts::kBoth);
  BOOST_CHECK_THROW(both.encode(at::zeros({1, 3, 2, 16, 16})), Error);
  BOOST_CHECK_THROW(both.encode(at::zeros({1, 3, 1, 12, 16})), Error);
  BOOST_TEST(both.weights_bytes() > decoder.weights_bytes());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace dualparal
