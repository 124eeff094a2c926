// SPDX-License-Identifier: Apache-2.0
#include "model/wan/vae.h"

#include "base/errors.h"
#include "tests/model/tiny.h"

namespace dualparal {
using namespace testing;

BOOST_AUTO_TEST_SUITE(vae)

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
