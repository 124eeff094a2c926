// SPDX-License-Identifier: Apache-2.0
#include "harness/report/compare_results.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>

#include "base/errors.h"
#include "harness/record/statistics.h"
#include "harness/report/report_groups.h"
#include "harness/report/report_table.h"

namespace dualparal {
namespace {

constexpr size_t kSamplesToTell = 3;
constexpr double kObvious = 1.5;  // with fewer samples than that
// Three samples a side lie apart by chance once in ten times, five once in 126: a change must be larger than the wider
// of the two ranges, or with few samples so many times as large. One false alarm in 300 rows, then, for any noise that
// is the same on both sides.
constexpr size_t kManySamples = 5;
constexpr double kRangesIfFew = 2;
constexpr double kRounding = 1e-6;  // of sums in another order

// Figures of `quality` that tell another picture, and how far rounding on another machine moves them at most.
constexpr std::array<std::pair<const char*, double>, 4> kPicture = {
    {{"flicker", 2e-4}, {"content", 0.05}, {"ssim", 0.01}, {"latent_relative_error", 0.01}}};

// What must be the same for two rows to be the same point, without the machine.
std::string row_of(const ResultGroup& group) {
  const ResultLine& l = group.first;
  return fmt::format("{}, {} frames, {} rank{}, {} {} {}, {} steps, {}", group.strategy_and_options(), shown(l.frames),
                     shown(l.world_size), l.world_size == 1 ? "" : "s", shown(l.model), group.size(), shown(l.dtype),
                     shown(l.steps), group.kind());
}

// A row's set: what it is compared with by ratios.
std::string set_of(const ResultLine& l) {
  return fmt::format("{} {} {} {} {} {}", kind_name(l.kind), shown(l.model), shown(l.frames), shown(l.height),
                     shown(l.steps), shown(l.dtype));
}

std::map<std::string, ResultGroup> rows_of(const std::vector<ResultLine>& lines) {
  std::map<std::string, ResultGroup> rows;
  for (const ResultGroup& group : group_results(lines)) {
    // A row that did and did not come to its end in different runs is one row.
    const auto [place, is_new] = rows.emplace(row_of(group), group);
    if (!is_new) place->second.ok.insert(place->second.ok.end(), group.ok.begin(), group.ok.end());
  }
  return rows;
}

std::set<std::string> machines(const std::vector<ResultLine>& lines) {
  std::set<std::string> names;
  for (const ResultLine& line : lines)
    if ((line.kind == ResultKind::kMeasured || line.kind == ResultKind::kEmulated) && line.status == ResultStatus::kOk)
      names.insert(text_at(line.provenance, line.device.value_or("cpu") == "cpu" ? "cpu" : "gpu", "unknown"));
  return names;
}

// Values of each field of the recipe. Paths and what only some versions of the program know say nothing.
void check_recipes(const std::string& row, const ResultGroup& before, const ResultGroup& after) {
  const auto values = [](const ResultGroup& group, const std::string& name) {
    std::set<std::string> found;
    for (const ResultLine& line : group.ok)
      if (line.config.contains(name)) found.insert(line.config[name].dump());
    return found;
  };
  if (before.ok.empty() || !before.ok[0].config.is_object()) return;
  static const std::set<std::string> kFree = {"model",          "prompt_embeds", "initial_noise", "repeats",
                                              "until_interval", "max_repeats",   "no_decode",     "overlap_decoding",
                                              "warmup_steps",   "receive_ahead"};
  for (const auto& [name, ignored] : before.ok[0].config.items()) {
    const auto mine = values(before, name), theirs = values(after, name);
    check(kFree.contains(name) || theirs.empty() || mine == theirs,
          "{}: recipes differ: '{}' is {} and {}; only the same recipe can be compared", row, name,
          fmt::join(mine, ", "), fmt::join(theirs, ", "));
  }
}

class Comparison {
 public:
  explicit Comparison(const CompareResultsOptions& options) : options_(options) {}

  std::vector<ComparedFigure> run(const std::vector<ResultLine>& before, const std::vector<ResultLine>& after) {
    const auto old_rows = rows_of(before), new_rows = rows_of(after);
    if (options_.ratios) find_bases(old_rows, new_rows);
    for (const auto& [name, old_row] : old_rows) {
      row_ = name;
      const auto found = new_rows.find(name);
      if (found == new_rows.end())
        add("status", status_name(old_row.first.status), "missing", Verdict::kWrong);
      else
        compare(old_row, found->second);
    }
    return std::move(figures_);
  }

 private:
  void add(const std::string& figure, std::string before, std::string after, Verdict verdict) {
    figures_.push_back({row_, figure, std::move(before), std::move(after), verdict});
  }

  // What the latencies of a set are divided by.
  struct Base {
    std::string name;
    double before = 0, after = 0;
    int64_t rows = 0;  // of the set, itself among them
  };

  // Of rows with a latency on both sides: the strategy that was asked for, or where it is not there, the first.
  void find_bases(const std::map<std::string, ResultGroup>& before, const std::map<std::string, ResultGroup>& after) {
    for (const auto& [name, row] : before) {
      const auto other = after.find(name);
      if (other == after.end() || row.latencies().empty() || other->second.latencies().empty()) continue;
      Base& base = bases_[set_of(row.first)];
      ++base.rows;
      const bool is_wanted = row.first.strategy == options_.base && base.name != options_.base;
      if (base.rows > 1 && !is_wanted) continue;
      base.name = is_wanted ? options_.base : row.strategy_and_options();
      base.before = median(row.latencies());
      base.after = median(other->second.latencies());
    }
  }

  void compare(const ResultGroup& before, const ResultGroup& after) {
    if (before.ok.empty() || after.ok.empty()) {
      const bool same = before.ok.empty() == after.ok.empty();
      add("status", before.ok.empty() ? before.note() : "ok", after.ok.empty() ? after.note() : "ok",
          same                ? Verdict::kSame
          : before.ok.empty() ? Verdict::kBetter
                              : Verdict::kWrong);
      return;
    }
    check_recipes(row_, before, after);
    exact("sent_bytes", before, after, figure(&ResultLine::sent_bytes), 0);
    exact("bubble_ratio_slots", before, after, figure(&ResultLine::bubble_ratio_slots), kRounding);
    const ResultKind kind = before.first.kind;
    const Figure latency = figure(&ResultLine::latency_s), memory = figure(&ResultLine::peak_memory_bytes);
    if (kind == ResultKind::kTraced || kind == ResultKind::kSimulated) {
      exact("latency_s", before, after, latency, kRounding);
      exact("flops", before, after, figure(&ResultLine::flops), kRounding);
      exact("peak_memory_bytes", before, after, memory, 0);
    } else {
      measured_latency(before, after);
      measured_memory(before, after, memory);
      same_picture(before, after);
    }
  }

  void exact(const char* name, const ResultGroup& before, const ResultGroup& after, const Figure& figure,
             double tolerance) {
    const double a = median(before.values(figure)), b = median(after.values(figure));
    if (std::isnan(a) && std::isnan(b)) return;
    const bool same = std::abs(a - b) <= tolerance * std::abs(a);
    add(name, fmt::format("{:.9g}", a), fmt::format("{:.9g}", b), same ? Verdict::kSame : Verdict::kWrong);
  }

  void measured_latency(const ResultGroup& before, const ResultGroup& after) {
    auto a = before.latencies(), b = after.latencies();
    if (a.empty() || b.empty()) return;
    if (!options_.ratios) {
      add("latency_s", fmt::format("{:.3f}", median(a)), fmt::format("{:.3f}", median(b)),
          verdict(a, b, options_.relative, options_.absolute_s));
      return;
    }
    const Base& base = bases_.at(set_of(before.first));
    if (base.rows == 1) {  // nothing to divide by
      add("latency_s", fmt::format("{:.3f}", median(a)), fmt::format("{:.3f}", median(b)), Verdict::kCannotTell);
      return;
    }
    for (double& value : a) value /= base.before;
    for (double& value : b) value /= base.after;
    add("latency / " + base.name, fmt::format("{:.2f}", median(a)), fmt::format("{:.2f}", median(b)),
        verdict(a, b, options_.band, 0));
  }

  // The same recipe makes the same picture, up to rounding.
  void same_picture(const ResultGroup& before, const ResultGroup& after) {
    for (const auto& [name, tolerance] : kPicture) {
      const double a = median(before.values(quality(name))), b = median(after.values(quality(name)));
      if (std::isnan(a) || std::isnan(b)) continue;
      add(name, fmt::format("{:.6g}", a), fmt::format("{:.6g}", b),
          std::abs(a - b) <= tolerance ? Verdict::kSame : Verdict::kWrong);
    }
  }

  static Verdict verdict(const std::vector<double>& a, const std::vector<double>& b, double relative, double absolute) {
    const double was = median(a), is = median(b), change = std::abs(is - was);
    if (change <= relative * was || change <= absolute) return Verdict::kSame;
    const auto [a_least, a_most] = std::ranges::minmax(a);
    const auto [b_least, b_most] = std::ranges::minmax(b);
    const bool enough = a.size() >= kSamplesToTell && b.size() >= kSamplesToTell;
    const double wider = std::max(a_most - a_least, b_most - b_least);
    const bool many = a.size() >= kManySamples && b.size() >= kManySamples;
    const bool apart = enough ? (b_least > a_most || a_least > b_most) && change > (many ? 1 : kRangesIfFew) * wider
                              : std::max(was, is) > kObvious * std::min(was, is);
    if (!apart) return Verdict::kCannotTell;
    return is > was ? Verdict::kRegression : Verdict::kBetter;
  }

  void measured_memory(const ResultGroup& before, const ResultGroup& after, const Figure& figure) {
    const double a = median(before.values(figure)), b = median(after.values(figure));
    if (std::isnan(a) || std::isnan(b)) return;
    const bool same = std::abs(a - b) <= options_.relative * a;
    add("peak_memory_bytes", fmt::format("{:.0f}", a), fmt::format("{:.0f}", b),
        same    ? Verdict::kSame
        : b > a ? Verdict::kRegression
                : Verdict::kBetter);
  }

  const CompareResultsOptions& options_;
  std::string row_;
  std::map<std::string, Base> bases_;
  std::vector<ComparedFigure> figures_;
};

}  // namespace

std::string verdict_name(Verdict verdict) {
  static constexpr std::array<const char*, 5> kNames = {"same", "better", "cannot tell", "REGRESSION", "WRONG"};
  return kNames.at(static_cast<size_t>(verdict));
}

std::vector<ComparedFigure> compare_results(const CompareResultsOptions& options, const std::vector<ResultLine>& before,
                                            const std::vector<ResultLine>& after) {
  const auto old_machines = machines(before), new_machines = machines(after);
  check(
      options.ratios || old_machines.empty() || new_machines.empty() || old_machines == new_machines,
      "measured on {} and on {}: latencies of two machines say nothing of the program; compare their ratios (--ratios)",
      fmt::join(old_machines, ", "), fmt::join(new_machines, ", "));
  return Comparison(options).run(before, after);
}

int64_t run_compare_results(const CompareResultsOptions& options) {
  const auto figures =
      compare_results(options, read_report_lines({options.before}), read_report_lines({options.after}));
  Table table{{"row", "figure", "before", "after", "verdict"}};
  std::map<Verdict, int64_t> counts;
  for (const ComparedFigure& one : figures) {
    ++counts[one.verdict];
    table.push_back({one.row, one.figure, one.before, one.after, verdict_name(one.verdict)});
  }
  fmt::print("{}\n", markdown_table(table, 2));
  std::vector<std::string> summary;
  for (const auto& [verdict, count] : counts) summary.push_back(fmt::format("{} {}", count, verdict_name(verdict)));
  fmt::print("{} figures: {}\n", figures.size(), fmt::join(summary, ", "));
  return counts[Verdict::kRegression] + counts[Verdict::kWrong];
}

}  // namespace dualparal
