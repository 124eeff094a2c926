// SPDX-License-Identifier: Apache-2.0
// Clocks, power and temperature, from an nvidia-smi that is none.
#include "harness/record/gpu_state.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/testing.h"

namespace dualparal::testing {
namespace {

// A folder first in PATH, with a program of that name; gone with it.
class FakeTool {
 public:
  explicit FakeTool(const std::string& script) {
    std::ofstream(folder_ / "nvidia-smi") << "#!/bin/sh\n" << script << "\n";
    fs::permissions(folder_ / "nvidia-smi", fs::perms::owner_all);
    setenv("PATH", (folder_.path().string() + ":" + path_).c_str(), 1);
  }
  ~FakeTool() { setenv("PATH", path_.c_str(), 1); }
  FakeTool(const FakeTool&) = delete;
  FakeTool& operator=(const FakeTool&) = delete;
  const TempFolder& folder() const { return folder_; }

 private:
  std::string path_ = std::getenv("PATH");
  TempFolder folder_;
};

BOOST_AUTO_TEST_SUITE(gpu_state_of_a_tool)

BOOST_AUTO_TEST_CASE(what_the_tool_tells_is_taken_and_nothing_else) {
  const FakeTool tool("echo \"$@\" > \"$(dirname \"$0\")/asked\"; echo '1980, 1980, [N/A], 412.50, 700.00, 54'");
  const auto state = gpu_state("0000:19:00.0");
  BOOST_TEST(state["sm_clock_mhz"].get<double>() == 1980);
  BOOST_TEST(state["memory_clock_mhz"].is_null());
  BOOST_TEST(state["power_w"].get<double>() == 412.5);
  BOOST_TEST(state["power_limit_w"].get<double>() == 700);
  BOOST_TEST(state["temperature_c"].get<double>() == 54);
  std::ifstream in(tool.folder() / "asked");
  std::string asked((std::istreambuf_iterator<char>(in)), {});
  for (const char* words : {"--id=0000:19:00.0", "clocks.sm", "power.limit", "nounits"})
    BOOST_TEST(asked.find(words) != std::string::npos, asked);
}

BOOST_AUTO_TEST_CASE(without_an_answer_all_is_null) {
  const auto all_null = [](const nlohmann::ordered_json& state) {
    BOOST_TEST(state.size() == 6U);
    for (const auto& [name, value] : state.items()) BOOST_TEST(value.is_null());
  };
  {
    const FakeTool tool("echo 'NVIDIA-SMI has failed'; exit 9");
    all_null(gpu_state("0000:19:00.0"));
  }
  const FakeTool tool("echo '1, 2, 3, 4, 5, 6'");
  all_null(gpu_state(""));                // the driver does not say which one
  all_null(gpu_state("0; rm -rf /tmp"));  // no address
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
