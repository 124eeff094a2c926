// SPDX-License-Identifier: Apache-2.0
// Blocks and the order of the queue; initial noise of blocks.
#include "dualparal/block_plan.h"

#include <set>

#include "dualparal/block_queue.h"
#include "dualparal/noise_pool.h"
#include "tests/ranks.h"

namespace dualparal::testing {
namespace {

std::vector<int64_t> lengths(int64_t frames, int64_t block_frames, int64_t context_frames) {
  std::vector<int64_t> out;
  for (const Block block : make_blocks(frames, block_frames, context_frames)) out.push_back(block.frames());
  return out;
}

void check_equal(const std::vector<int64_t>& got, const std::vector<int64_t>& expected) {
  BOOST_TEST(got == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_SUITE(block_plan)

BOOST_AUTO_TEST_CASE(blocks_cover_the_video_in_order) {
  check_equal(lengths(21, 8, 4), {12, 8, 1});  // 81 video frames
  check_equal(lengths(20, 8, 4), {12, 8});
  check_equal(lengths(5, 8, 4), {5});
  check_equal(lengths(1, 8, 0), {1});
  check_equal(lengths(9, 3, 0), {3, 3, 3});
  const auto blocks = make_blocks(257, 8, 4);  // 1,025 video frames
  BOOST_TEST(blocks.size() == 32u);
  BOOST_TEST(blocks.back().frames() == 5);
  for (size_t i = 1; i < blocks.size(); ++i) BOOST_TEST(blocks[i].begin == blocks[i - 1].end);
}

BOOST_AUTO_TEST_CASE(blocks_of_several_videos_follow_each_other) {
  const auto one = make_blocks(21, 8, 4), all = make_blocks(21, 8, 4, 3);
  BOOST_REQUIRE(all.size() == 3 * one.size());
  for (size_t i = 0; i < all.size(); ++i) {
    const Block& alone = one[i % one.size()];
    BOOST_TEST((all[i].begin == alone.begin && all[i].end == alone.end));
    BOOST_TEST(all[i].video == static_cast<int64_t>(i / one.size()));
    BOOST_TEST(all.has_successor(static_cast<int64_t>(i)) == (i % one.size() + 1 < one.size()));
  }
}

// Neither window nor context reaches into another video.
BOOST_AUTO_TEST_CASE(windows_end_where_the_video_does) {
  const auto one = make_blocks(9, 3, 2), all = make_blocks(9, 3, 2, 2);
  for (const auto previous : {PreviousContext::kSynchronous, PreviousContext::kMatchedKeyValues})
    for (int64_t block = 0; block < 3; ++block) {
      const ContextOptions sees{.context_frames = 2, .feature_cache = false, .previous = previous};
      const Window alone = window_of(one, {block + 1, block, 1}, sees);
      for (const int64_t video : {0, 1}) {
        const Window window = window_of(all, {block + 3 * video + 1, block + 3 * video, 1}, sees);
        BOOST_TEST((window.previous == alone.previous && window.own == alone.own && window.next == alone.next &&
                    window.previous_cached == alone.previous_cached));
      }
    }
}

BOOST_AUTO_TEST_CASE(every_block_takes_every_step_once_from_tail_to_head) {
  for (const auto& [blocks, steps] : {std::pair{1, 4}, {3, 5}, {6, 2}, {4, 4}}) {
    const auto queue = make_queue(blocks, steps);
    BOOST_TEST(queue.size() == static_cast<size_t>(blocks * steps));
    std::set<std::pair<int64_t, int64_t>> seen;
    for (size_t i = 0; i < queue.size(); ++i) {
      BOOST_TEST(queue[i].age == queue[i].iteration - queue[i].block);
      BOOST_TEST((queue[i].age >= 0 && queue[i].age < steps));
      BOOST_TEST(seen.insert({queue[i].block, queue[i].age}).second);
      BOOST_TEST(queue_position(blocks, steps, queue[i].iteration, queue[i].block) == static_cast<int64_t>(i));
      if (i > 0 && queue[i].iteration == queue[i - 1].iteration) BOOST_TEST(queue[i].block == queue[i - 1].block - 1);
    }
  }
}

// A plan as long as years of video costs nothing, and begins as a short one does.
BOOST_AUTO_TEST_CASE(a_video_without_end_is_planned_place_by_place) {
  constexpr int64_t kFrames = int64_t{1} << 38, kSteps = 7;
  const auto endless = make_blocks(kFrames, 8, 4), some = make_blocks(1000, 8, 4);
  for (size_t i = 0; i + 1 < some.size(); ++i)
    BOOST_TEST((endless[i].begin == some[i].begin && endless[i].end == some[i].end), "block " << i);
  const auto count = static_cast<int64_t>(endless.size());
  BOOST_TEST(endless[count - 1].end == kFrames);
  const auto order = make_queue(count, kSteps), short_order = make_queue(static_cast<int64_t>(some.size()), kSteps);
  int64_t place = 0;
  for (int64_t k = 0; k < static_cast<int64_t>(some.size()); ++k) {
    BOOST_TEST(order.place_of(k) == place);
    for (int64_t block = k; block > std::max<int64_t>(-1, k - kSteps); --block, ++place) {
      const QueueEntry entry = order[place], other = short_order[place];
      BOOST_TEST((entry.iteration == k && entry.block == block && entry.age == k - block), "place " << place);
      BOOST_TEST((other.iteration == k && other.block == block), "place " << place);
    }
  }
  const int64_t far = int64_t{1} << 33, there = order.place_of(far);
  BOOST_TEST(order[there].iteration == far);
  BOOST_TEST(order[there].block == far);
  BOOST_TEST(order[there - 1].iteration == far - 1);
  BOOST_TEST(short_order.place_of(short_order.iterations()) == static_cast<int64_t>(short_order.size()));
}

BOOST_AUTO_TEST_CASE(a_step_needs_the_results_it_starts_from) {
  const auto queue = make_queue(4, 6);
  for (const QueueEntry entry : queue) {
    const int64_t updated = needed_position(4, 6, entry, true), own = needed_position(4, 6, entry, false);
    if (entry.age == 0)
      BOOST_TEST(own == -1);
    else
      BOOST_TEST(own == queue_position(4, 6, entry.iteration - 1, entry.block));
    if (entry.block > 0) BOOST_TEST(updated == queue_position(4, 6, entry.iteration - 1, entry.block - 1));
    BOOST_TEST(updated >= own);
  }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(noise_pool)

std::vector<at::Tensor> noise_of(const Request& request, const Blocks& blocks, bool sharing) {
  BlockNoise noise(request, 3, 2, sharing);
  std::vector<at::Tensor> out;
  for (const Block block : blocks) out.push_back(noise.next(block));
  return out;
}

// Which frames of `a` are frames of `b`.
int64_t shared_frames(const at::Tensor& a, const at::Tensor& b) {
  int64_t count = 0;
  for (int64_t i = 0; i < a.size(2); ++i)
    for (int64_t j = 0; j < b.size(2); ++j) count += a.select(2, i).equal(b.select(2, j));
  return count;
}

BOOST_AUTO_TEST_CASE(blocks_share_one_pool_but_not_with_the_context_before) {
  const Request request = ranks_request(17);
  const auto blocks = make_blocks(17, 3, 2);
  const auto noise = noise_of(request, blocks, true);
  for (size_t i = 1; i < noise.size(); ++i) {
    // The pool has five frames: the three that are not the predecessor's last two.
    BOOST_TEST(shared_frames(noise[i], noise[i - 1].slice(2, -2)) == 0);
    BOOST_TEST(shared_frames(noise[i], noise[0]) == 3);
  }
}

BOOST_AUTO_TEST_CASE(without_sharing_no_frame_comes_twice) {
  const Request request = ranks_request(17);
  const auto noise = at::cat(noise_of(request, make_blocks(17, 3, 2), false), 2);
  BOOST_TEST(shared_frames(noise, noise) == 17);
}

BOOST_AUTO_TEST_CASE(the_seed_decides) {
  Request request = ranks_request(17);
  const auto blocks = make_blocks(17, 3, 2);
  const at::Tensor first = at::cat(noise_of(request, blocks, true), 2);
  BOOST_TEST(at::cat(noise_of(request, blocks, true), 2).equal(first));
  request.seed += 1;
  BOOST_TEST(!at::cat(noise_of(request, blocks, true), 2).equal(first));
}

BOOST_AUTO_TEST_CASE(given_noise_is_taken_frame_by_frame) {
  Request request = ranks_request(7);
  request.initial_noise = randn({1, request.channels, 9, 4, 6}, 3);
  const auto blocks = make_blocks(7, 3, 2);
  BOOST_TEST(at::cat(noise_of(request, blocks, true), 2).equal(request.initial_noise.slice(2, 0, 7)));
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
