// SPDX-License-Identifier: Apache-2.0
// What a resumed run may change, and what it may not.
#include "harness/snapshots/resume_check.h"

#include "base/data_dir.h"
#include "harness/options/resolve_options.h"
#include "tests/testing.h"

namespace dualparal::testing {
namespace {

GenerateOptions resolved() {
  GenerateOptions options;
  options.model.dir = embedded_model();
  options.run.strategy = "dualparal";
  resolve_generate_options(options);
  return options;
}

// Whether a run that was kept as `kept` may go on as `given`; else the words of the refusal.
std::string refusal(const GenerateOptions& kept, const GenerateOptions& given) {
  try {
    check_same_run("folder", run_identity(kept), run_identity(given));
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

BOOST_AUTO_TEST_SUITE(resume_check)

BOOST_AUTO_TEST_CASE(what_shares_the_work_otherwise_is_free) {
  const GenerateOptions kept = resolved();
  GenerateOptions given = kept;
  given.run.nproc = 3;
  given.run.receive_ahead = 1;
  given.run.strategy_options["partition"] = "balanced";
  given.run.strategy_options["cache-memory"] = "host";
  BOOST_TEST(refusal(kept, given) == "");
  given.sampling.steps = *given.sampling.steps + 1;
  BOOST_TEST(refusal(kept, given).find("--steps") != std::string::npos);
}

// The VAE decodes what is finished, but an image that a video is made from goes through it before.
BOOST_AUTO_TEST_CASE(the_vae_is_free_unless_it_encodes_an_image) {
  GenerateOptions kept = resolved(), given = kept;
  given.model.vae_dtype = "bf16";
  BOOST_TEST(refusal(kept, given) == "");
  for (GenerateOptions* one : {&kept, &given}) one->video.image = "image.png";
  BOOST_TEST(refusal(kept, given).find("--vae-dtype") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace dualparal::testing
