// SPDX-License-Identifier: Apache-2.0
#include "harness/options/timed_prompts.h"

#include "base/files.h"
#include "tests/testing.h"

namespace dualparal::testing {
namespace {

const LatentGeometry kGeometry{.channels = 16, .temporal_stride = 4, .spatial_stride = 8};

GenerateOptions options_of(const fs::path& file, const std::string& text, int64_t frames = 81,
                           const std::string& strategy = "dualparal") {
  write_file(file, text);
  GenerateOptions options;
  options.video.prompts = file;
  options.video.frames = frames;
  options.run.strategy = strategy;
  resolve_timed_prompts(options);
  check_timed_prompts(options, kGeometry);
  return options;
}

BOOST_AUTO_TEST_SUITE(timed_prompts)

BOOST_AUTO_TEST_CASE(lines_are_read) {
  const TempFolder folder;
  const auto options = options_of(folder / "p.txt", "# a video\n\n0: a cat: it sleeps \r\n  17 :a dog\n41:\ta bird");
  const auto& prompts = options.video.timed_prompts;
  BOOST_TEST(prompts.size() == 3u);
  const char* texts[] = {"a cat: it sleeps", "a dog", "a bird"};
  const int64_t frames[] = {0, 17, 41}, lines[] = {3, 4, 5};
  for (size_t i = 0; i < 3; ++i) {
    BOOST_TEST(prompts[i].text == texts[i]);
    BOOST_TEST(prompts[i].frame == frames[i]);
    BOOST_TEST(prompts[i].line == lines[i]);
  }
  BOOST_TEST(*options.video.prompt == "0: a cat: it sleeps | 17: a dog | 41: a bird");
}

struct Refused {
  const char* text;
  std::vector<std::string> words;
  int64_t frames = 81;
  const char* strategy = "dualparal";
};
std::ostream& operator<<(std::ostream& out, const Refused& one) { return out << one.text; }
const Refused kRefused[] = {
    {"", {"no prompt"}},
    {"# nothing\n\n", {"no prompt"}},
    {"0: a\nb", {":2", "'frame: prompt'", "'b'"}},
    {"0: a\nten: b", {":2", "'ten: b'"}},
    {"0: a\n-5: b", {":2", "'-5: b'"}},
    {"0: a\n: b", {":2", "': b'"}},
    {"0: a\n99999999999: b", {":2", "whole number"}},
    {"0:  \n", {":1", "frame 0 is empty"}},
    {"\n5: a", {":2", "frame 0", "got frame 5"}},
    {"0: a\n# note\n30: b\n30: c", {":4", "frame 30 does not come after frame 30 of line 3"}},
    {"0: a\n81: b", {":2", "81 frames", "frame 81"}},
    {"0: a\n78: b", {":2", "no latent frame begins at frame 78"}},
    {"0: a\n14: b\n17: c", {":3", "frame 17", "same latent frame", "4 frames"}},
    {"0: a", {"single", "no blocks", "context_windows, fifo, dualparal"}, 81, "single"},
    {"0: a", {"pipefusion", "one prompt"}, 81, "pipefusion"},
};

BOOST_DATA_TEST_CASE(what_is_none_is_refused, data::make(kRefused), one) {
  const TempFolder folder;
  auto words = one.words;
  words.push_back((folder / "p.txt").string());
  expect_error<UsageError>(words, [&] { options_of(folder / "p.txt", one.text, one.frames, one.strategy); });
}

BOOST_AUTO_TEST_CASE(other_prompts_do_not_go_with_it) {
  const TempFolder folder;
  write_file(folder / "p.txt", "0: a");
  for (const int which : {0, 1, 2, 3}) {
    GenerateOptions options;
    options.video.prompts = folder / "p.txt";
    if (which == 0) options.video.prompt = "b";
    if (which == 1) options.video.prompt_list = "b";
    if (which == 2) options.video.prompt_embeds = "b";
    if (which == 3) options.output.save_prompt_embeds = "b";
    expect_error<UsageError>({"--prompts", "prompt"}, [&] { resolve_timed_prompts(options); });
  }
}

// Latent frame 0 is frame 0, latent frame n the four from 4n - 3 on.
BOOST_DATA_TEST_CASE(latent_frames_that_begin_at_a_frame_or_later,
                     data::make({0, 1, 2, 5, 6, 9, 41}) ^ data::make({0, 1, 2, 2, 3, 3, 11}), frame, latent) {
  BOOST_TEST(latent_frame_from(frame, kGeometry) == latent);
}

BOOST_AUTO_TEST_CASE(prompts_are_shown_from_the_block_that_takes_them) {
  const TempFolder folder;
  const std::string text = "0: a\n5: b\n10: c\n60: d";
  const std::vector<int64_t> blocks{4, 8, 12, 16};  // latent frames; of the video 13, 29, 45, 61
  const auto shown = shown_prompts(options_of(folder / "p.txt", text), blocks, kGeometry);
  const int64_t frames[] = {0, -1, 13, 61};
  for (size_t i = 0; i < 4; ++i) BOOST_TEST(shown.at(i).frame == frames[i]);
  BOOST_TEST(shown[3].text == "d");
  BOOST_TEST(shown[1].line == 2);
  // Past the last block's begin, and where there is one block only.
  BOOST_TEST(shown_prompts(options_of(folder / "p.txt", "0: a\n77: b"), blocks, kGeometry)[1].frame == -1);
  BOOST_TEST(shown_prompts(options_of(folder / "p.txt", "0: a\n5: b"), {}, kGeometry)[1].frame == -1);
  BOOST_TEST(shown_prompts(options_of(folder / "p.txt", "0: a\n6: b", 81, "fifo"), {}, kGeometry)[1].frame == 6);
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
