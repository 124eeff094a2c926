// SPDX-License-Identifier: Apache-2.0
#include "harness/record/gpu_state.h"

#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <memory>
#include <sstream>
#include <utility>
#include <vector>

namespace dualparal {
namespace {

// Our names, and nvidia-smi's.
constexpr std::array<std::pair<const char*, const char*>, 6> kQueries = {{{"sm_clock_mhz", "clocks.sm"},
                                                                          {"sm_clock_limit_mhz", "clocks.max.sm"},
                                                                          {"memory_clock_mhz", "clocks.mem"},
                                                                          {"power_w", "power.draw"},
                                                                          {"power_limit_w", "power.limit"},
                                                                          {"temperature_c", "temperature.gpu"}}};

std::string output_of(const std::string& command) {
  struct Close {
    void operator()(FILE* pipe) const { pclose(pipe); }
  };
  const std::unique_ptr<FILE, Close> pipe(popen(command.c_str(), "r"));
  std::string text;
  char buffer[512];
  while (pipe && std::fgets(buffer, sizeof buffer, pipe.get())) text += buffer;
  return text;
}

nlohmann::ordered_json number_in(const std::string& field) {
  std::istringstream in(field);
  double value = 0;
  return in >> value ? nlohmann::ordered_json(value) : nullptr;  // "[N/A]", "[Not Supported]"
}

}  // namespace

nlohmann::ordered_json gpu_state(const std::string& pci_address) {
  std::vector<std::string> fields;
  if (!pci_address.empty() && pci_address.find_first_not_of("0123456789abcdefABCDEF:.") == std::string::npos) {
    std::string names;
    for (const auto& [ours, theirs] : kQueries) names += fmt::format("{}{}", names.empty() ? "" : ",", theirs);
    // What it has to complain of goes nowhere: a driver that does not answer makes no result a failed one.
    std::istringstream row(output_of(fmt::format(
        "nvidia-smi --id={} --query-gpu={} --format=csv,noheader,nounits 2>/dev/null", pci_address, names)));
    for (std::string field; std::getline(row, field, ',');) fields.push_back(field);
  }
  nlohmann::ordered_json state;
  for (size_t i = 0; i < kQueries.size(); ++i)
    state[kQueries[i].first] = fields.size() == kQueries.size() ? number_in(fields[i]) : nullptr;
  return state;
}

}  // namespace dualparal
