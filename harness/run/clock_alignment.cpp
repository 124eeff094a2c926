// SPDX-License-Identifier: Apache-2.0
#include "harness/run/clock_alignment.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <set>

#include "base/parse_json.h"
#include "harness/record/statistics.h"

namespace dualparal {
namespace {

constexpr int kBarriers = 9;

}  // namespace

ClockOffset align_clock(Communicator& comm, const std::string& host, const std::function<double()>& clock) {
  const auto hosts = comm.gather(host);
  if (std::set(hosts.begin(), hosts.end()).size() == 1) return {};
  std::vector<double> times;
  for (int i = 0; i < kBarriers; ++i) {
    comm.barrier();
    times.push_back(clock());
  }
  const auto all = comm.gather(nlohmann::json(times).dump());
  const auto first = parse_json(all.at(0)).get<std::vector<double>>();
  std::vector<double> differences;
  for (int i = 0; i < kBarriers; ++i) differences.push_back(first[i] - times[i]);
  const auto [least, most] = std::ranges::minmax(differences);
  return {median(differences), (most - least) / 2};
}

std::string clock_host() {
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  return boot;
}

}  // namespace dualparal
