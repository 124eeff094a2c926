// SPDX-License-Identifier: Apache-2.0
#include "harness/plan/candidates.h"

#include <algorithm>

#include "base/errors.h"
#include "harness/options/strategies.h"

namespace dualparal {
namespace {

std::vector<std::string> divisors(int64_t number) {
  std::vector<std::string> out;
  for (int64_t i = 1; i <= number; ++i)
    if (number % i == 0) out.push_back(std::to_string(i));
  return out;
}

// Values worth trying, of the options that change what is computed where and when; of all others the default. Larger
// blocks and contexts cost more and show more of each other: they are there to be seen, not to win.
std::vector<std::string> values_of(const OptionSpec& option, int64_t ranks, bool guided) {
  if (option.name == "sequence-degree" || option.name == "ulysses-degree") return divisors(ranks);
  if (option.name == "guidance-parallel" && guided && ranks % 2 == 0) return {"off", "on"};
  if (option.name == "guidance-micro-batches" && guided) return {"1", "2"};
  if (option.name == "partition" && ranks > 1) return {"balanced"};
  if (option.name == "previous-context") return {"matched_kv", "matched"};
  if (option.name == "block-frames") return {"8", "16"};
  if (option.name == "context-frames") return {"4", "8"};
  if (option.name == "patches") return {"8", "16", "32"};
  if (option.name == "global-frames") return {option.default_value, "0"};  // of video_infinity
  return {option.default_value};
}

OptionValues not_default(const OptionValues& values, const std::vector<OptionSpec>& specs) {
  OptionValues out;
  for (const OptionSpec& spec : specs)
    if (values.at(spec.name) != spec.default_value) out[spec.name] = values.at(spec.name);
  return out;
}

// All that can be crossed; what excludes each other is left to the strategy to refuse.
std::vector<OptionValues> crossed(const std::vector<OptionSpec>& specs, int64_t ranks, bool guided) {
  std::vector<OptionValues> all{{}};
  for (const OptionSpec& spec : specs) {
    std::vector<OptionValues> more;
    for (const OptionValues& one : all)
      for (const std::string& value : values_of(spec, ranks, guided)) {
        more.push_back(one);
        more.back()[spec.name] = value;
      }
    all = std::move(more);
  }
  return all;
}

}  // namespace

std::string Candidate::flags() const {
  std::string text = fmt::format("--strategy {} --nproc {}", strategy, ranks);
  for (const auto& [name, value] : options) text += fmt::format(" --{} {}", name, value);
  return text;
}

std::optional<Candidate> with_caches_on_host(const Candidate& candidate) {
  const auto& specs = find_strategy(candidate.strategy).options;
  const auto value = [&](const std::string& name) -> std::string {
    const auto given = candidate.options.find(name);
    if (given != candidate.options.end()) return given->second;
    const auto spec = std::ranges::find(specs, name, &OptionSpec::name);
    return spec == specs.end() ? "" : spec->default_value;
  };
  if (value("cache-memory") != "auto" || value("previous-context") != "matched_kv") return std::nullopt;
  Candidate other = candidate;
  other.options["cache-memory"] = "host";
  return other;
}

std::vector<Candidate> candidates(int64_t devices, bool guided, bool exact_only) {
  std::vector<std::vector<Candidate>> kinds;
  for (const StrategyEntry& entry : strategies()) {
    if (exact_only && !entry.exact) continue;
    auto& kind = kinds.emplace_back();
    const int64_t ranks = entry.name == "single" ? 1 : devices;
    if (entry.name != "single" && ranks == 1 && entry.exact) continue;  // that is `single`
    for (const OptionValues& values : crossed(entry.options, ranks, guided))
      kind.push_back({entry.name, not_default(values, entry.options), ranks, entry.exact});
    // As the paper has it, for comparison.
    if (!entry.options.empty() && entry.streams_blocks) kind.push_back({entry.name, {}, ranks, entry.exact});
  }
  // One of each kind in turn: what others are held against is there early.
  std::vector<Candidate> all;
  size_t longest = 0;
  for (const auto& kind : kinds) longest = std::max(longest, kind.size());
  for (size_t i = 0; i < longest; ++i)
    for (const auto& kind : kinds)
      if (i < kind.size()) all.push_back(kind[i]);
  return all;
}

}  // namespace dualparal
