// SPDX-License-Identifier: Apache-2.0
#include "harness/probe/link_probe.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <array>
#include <exception>
#include <thread>
#include <torch/csrc/distributed/c10d/HashStore.hpp>

#include "base/clock.h"
#include "base/device.h"
#include "base/errors.h"
#include "comm/gloo_communicator.h"
#include "harness/record/statistics.h"
#include "harness/simulator/least_squares.h"

namespace dualparal {
namespace {

// The same on both ranks, which cannot agree on more: small messages are many, large ones a few.
int64_t rounds_of(int64_t bytes) {
  constexpr int64_t kAll = 64 << 20, kFewest = 5, kMost = 50;
  return std::clamp(kAll / bytes, kFewest, kMost);
}

}  // namespace

std::vector<Link> probed_links(int64_t a, int64_t b) { return {{a, b, Channel::kForward}, {b, a, Channel::kForward}}; }

std::vector<int64_t> link_sizes() {
  std::vector<int64_t> sizes;
  for (int64_t bytes = 4 << 10; bytes <= 64 << 20; bytes *= 4) sizes.push_back(bytes);
  return sizes;
}

LinkFigures measure_link(Communicator& comm, const at::Device& device, int64_t a, int64_t b,
                         const std::vector<int64_t>& sizes) {
  const c10::InferenceMode inference;
  if (comm.rank() != a && comm.rank() != b) return {};
  const bool begins = comm.rank() == a;
  const int64_t peer = begins ? b : a;
  std::vector<LinkSample> samples;
  std::vector<double> posting;
  for (const int64_t bytes : sizes) {
    const at::Tensor out = at::ones({bytes}, at::TensorOptions().device(device).dtype(at::kByte));
    at::Tensor in = at::empty_like(out);
    std::vector<double> seconds;
    for (int64_t round = -1; round < rounds_of(bytes); ++round) {  // the first one opens what has to be opened
      synchronize(device);
      const Stopwatch there_and_back;
      const auto incoming = comm.receive(in, peer, Channel::kForward);
      if (!begins) incoming->wait();
      const Stopwatch post;
      const auto outgoing = comm.send(out, peer, Channel::kForward);
      if (round >= 0) posting.push_back(post.seconds());
      if (begins) incoming->wait();
      synchronize(device);
      if (round >= 0) seconds.push_back(there_and_back.seconds() / 2);
      outgoing->wait();
    }
    samples.push_back({bytes, median(seconds)});
  }
  return begins ? fit_link(std::move(samples), median(posting)) : LinkFigures{};
}

LinkFigures fit_link(std::vector<LinkSample> samples, double post_s) {
  check(samples.size() > 1, "a link needs messages of two sizes at least");
  std::vector<std::array<double, 2>> amounts;
  std::vector<double> seconds, weights;
  for (const LinkSample& sample : samples) {
    amounts.push_back({1, static_cast<double>(sample.bytes)});
    seconds.push_back(sample.seconds);
    weights.push_back(1);
  }
  const auto [start, byte] = fit_relative(amounts, seconds, weights);
  check(byte > 0, "messages of all sizes took the same time: the link has no bandwidth that could be told");
  return {std::move(samples), post_s, std::max(0.0, start - post_s), 1 / byte};
}

LinkFigures measure_gloo_here() {
  const auto store = c10::make_intrusive<c10d::HashStore>();
  LinkFigures figures;
  std::array<std::exception_ptr, 2> failures;
  const auto take_part = [&](int64_t rank) {
    try {
      const auto comm = gloo_communicator(store, {rank, 2, std::chrono::seconds(10), /*loopback=*/true});
      const LinkFigures own = measure_link(*comm, at::kCPU, 0, 1, {4 << 10, 1 << 20, 8 << 20});
      if (rank == 0) figures = own;
      comm->barrier();
    } catch (...) {
      failures.at(static_cast<size_t>(rank)) = std::current_exception();
    }
  };
  std::thread other(take_part, 1);
  take_part(0);
  other.join();
  for (const auto& failure : failures)
    if (failure) std::rethrow_exception(failure);
  return figures;
}

}  // namespace dualparal
