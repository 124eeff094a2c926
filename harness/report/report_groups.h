// SPDX-License-Identifier: Apache-2.0
// Result lines as the rows of a report: the runs of one point together, and its figures from them.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "harness/record/result_line.h"

namespace dualparal {

/// A number of a line; empty where it has none.
using Figure = std::function<std::optional<double>(const ResultLine&)>;

/// The figure that a field is, or a metric of `quality`.
template <class T>
Figure figure(std::optional<T> ResultLine::*field) {
  return [field](const ResultLine& line) {
    return line.*field ? std::optional(static_cast<double>(*(line.*field))) : std::nullopt;
  };
}
Figure quality(const std::string& name);

/// As text; "?" if it is not known.
std::string shown(const std::optional<std::string>& value);
std::string shown(const std::optional<int64_t>& value);

/// The runs of one configuration: repeats, and samples with other prompts or seeds.
struct ResultGroup {
  ResultLine first;            ///< what all have in common is read from it
  std::vector<ResultLine> ok;  ///< those that ran to their end

  /// "measured"; of a simulation with its cluster: "simulated on 8x RTX 4090".
  std::string kind() const;
  std::string size() const;  ///< "480x832", height first
  /// The GPU's or the processor's name; empty of a simulation, and of a run on a GPU that did not come to its end.
  std::string machine() const;
  std::string options() const;  ///< those that are not at their default: "block-frames=4 feature-cache=off"
  std::string strategy_and_options() const;  ///< "dualparal block-frames=4"; of the default variant the strategy alone
  /// Empty, or why there are no figures: "failed: out of memory".
  std::string note() const;
  /// Values in the runs that have the figure.
  std::vector<double> values(const Figure& figure) const;
  /// One value for each sample, a prompt with a seed: the mean over the sample's repeats.
  std::vector<double> samples(const Figure& figure) const;
  /// The same by sample: a key that is the same for the same prompt and seed in all groups.
  std::map<std::string, double> by_sample(const Figure& figure) const;
  size_t sample_count() const;
  std::vector<double> latencies() const;  ///< of every repeat of every line
};

/// `object[key]` if there is such a text, else `otherwise`.
std::string text_at(const nlohmann::ordered_json& object, const char* key, const std::string& otherwise = "");

/// All lines of files, or of results.jsonl in folders. A point that was run again counts with its last line.
/// Error if there is none.
std::vector<ResultLine> read_report_lines(const std::vector<std::filesystem::path>& files);

/// By model, kind and frames, strategies in the order of their table. Kinds, clusters, models, sizes, options, ... are
/// never mixed.
std::vector<ResultGroup> group_results(const std::vector<ResultLine>& lines);

}  // namespace dualparal
