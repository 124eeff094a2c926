// SPDX-License-Identifier: Apache-2.0
#include "harness/report/report.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/files.h"
#include "harness/record/statistics.h"
#include "harness/report/paired_tables.h"
#include "harness/report/quality_figures.h"
#include "harness/report/report_groups.h"
#include "harness/report/report_table.h"
#include "harness/report/speedup.h"

namespace dualparal {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::ordered_json;

enum class Shown {
  kMedian,   // over all runs
  kRange,    // of the latency, over all repeats; besides, the smallest and the largest
  kSamples,  // mean and confidence interval where prompts or seeds differ: figures of a video, not of a run
};

struct Column {
  std::string title;
  Figure figure;
  double scale;  // multiplied with the value
  int digits;
  Shown shown;
};

constexpr double kMiB = 1.0 / (1 << 20);

template <class T>
Figure formula(std::optional<T> FormulaLine::*field) {
  return [field](const ResultLine& line) {
    return line.analytic_cost && (*line.analytic_cost).*field
               ? std::optional(static_cast<double>(*((*line.analytic_cost).*field)))
               : std::nullopt;
  };
}

// Of the rank that holds most.
std::optional<double> weights(const ResultLine& line) {
  std::optional<double> most;
  for (const RankLine& rank : line.per_rank)
    if (rank.weights_bytes) most = std::max(most, std::optional(static_cast<double>(*rank.weights_bytes)));
  return most;
}

// Only where there are any.
std::optional<double> host_caches(const ResultLine& line) {
  if (line.host_cache_bytes.value_or(0) == 0) return std::nullopt;
  return static_cast<double>(*line.host_cache_bytes);
}

std::optional<double> frames_per_second(const ResultLine& line) {
  if (!line.frames || line.latency_s.value_or(0) <= 0) return std::nullopt;
  return static_cast<double>(line.videos.value_or(1) * *line.frames) / *line.latency_s;
}

// Of every ten videos of a list, nine take no longer.
std::optional<double> most_videos_take(const ResultLine& line) {
  return line.video_latency_s ? line.video_latency_s->p90 : std::nullopt;
}

// What a rank achieves on average, waiting included. Divided by what its device can do at most, the model FLOP
// utilisation.
std::optional<double> tera_flops_per_second(const ResultLine& line) {
  if (!line.flops || !line.world_size || line.latency_s.value_or(0) <= 0) return std::nullopt;
  return 1e-12 * *line.flops / (*line.latency_s * static_cast<double>(*line.world_size));
}

const std::vector<Column> kRunColumns = {
    {"latency s", figure(&ResultLine::latency_s), 1, 3, Shown::kRange},
    {"frames/s", frames_per_second, 1, 2, Shown::kMedian},
    {"videos/s", figure(&ResultLine::videos_per_s), 1, 4, Shown::kMedian},
    {"p90 of a video s", most_videos_take, 1, 3, Shown::kMedian},
    {"TFLOP/s a rank", tera_flops_per_second, 1, 3, Shown::kMedian},
    {"first block s", figure(&ResultLine::first_block_s), 1, 3, Shown::kMedian},
    {"decode s", figure(&ResultLine::decode_s), 1, 3, Shown::kMedian},
    {"memory MiB", figure(&ResultLine::peak_memory_bytes), kMiB, 1, Shown::kMedian},
    {"memory left %", figure(&ResultLine::memory_margin), 100, 1, Shown::kMedian},
    {"host caches MiB", host_caches, kMiB, 1, Shown::kMedian},
    {"weights MiB", weights, kMiB, 1, Shown::kMedian},
    {"weights by formula", formula(&FormulaLine::weights_bytes), kMiB, 1, Shown::kMedian},
    {"keys, values by formula", formula(&FormulaLine::key_value_bytes), kMiB, 1, Shown::kMedian},
    {"process MiB", figure(&ResultLine::process_memory_bytes), kMiB, 0, Shown::kMedian},
    {"sent MiB", figure(&ResultLine::sent_bytes), kMiB, 1, Shown::kMedian},
    {"sent by formula", formula(&FormulaLine::sent_bytes), kMiB, 1, Shown::kMedian},
    {"idle", figure(&ResultLine::bubble_ratio), 1, 3, Shown::kMedian},
    {"idle by slots", figure(&ResultLine::bubble_ratio_slots), 1, 3, Shown::kMedian},
    {"error vs single", figure(&ResultLine::error_vs_single), 1, 7, Shown::kMedian},
};

const std::vector<Column>& video_columns() {
  static const std::vector<Column> all = [] {
    std::vector<Column> made;
    for (const QualityFigure& of : quality_figures())
      made.push_back({of.title, quality(of.name), 1, of.digits, Shown::kSamples});
    return made;
  }();
  return all;
}

constexpr size_t kWords = 2;    // columns that are set to the left
constexpr double kNoisy = 0.1;  // of the median: a wider range of a latency is marked
const std::vector<std::string> kIfVaried = {"model", "size", "machine", "samples"};

std::string cell(const ResultGroup& group, const Column& column) {
  const auto text = [&](double value) { return fmt::format("{:.{}f}", value * column.scale, column.digits); };
  if (column.shown == Shown::kSamples) {
    const auto samples = group.samples(column.figure);
    const MeanInterval interval = mean_interval(samples);
    if (samples.size() > 1) return text(interval.mean) + " ± " + text(interval.half_width);
  }
  const auto values = column.shown == Shown::kRange ? group.latencies() : group.values(column.figure);
  if (values.empty()) return "";
  if (column.shown != Shown::kRange || values.size() == 1) return text(median(values));
  const auto [smallest, largest] = std::ranges::minmax(values);
  const double middle = median(values);
  return fmt::format("{} ({}-{}){}", text(middle), text(smallest), text(largest),
                     largest - smallest > kNoisy * middle ? " ~" : "");
}

bool has_videos(const std::vector<ResultGroup>& groups) {
  return std::ranges::any_of(groups, [](const ResultGroup& group) {
    return std::ranges::any_of(video_columns(),
                               [&](const Column& column) { return !group.values(column.figure).empty(); });
  });
}

// A variant with all options at their default is called so where others are beside it.
std::string options_text(const ResultGroup& group, const std::vector<ResultGroup>& groups) {
  const std::string text = group.options();
  const bool has_variants = std::ranges::any_of(groups, [&](const ResultGroup& other) {
    return other.first.strategy == group.first.strategy && !other.options().empty();
  });
  return text.empty() && has_variants ? "default" : text;
}

Table table_of(const std::vector<ResultGroup>& groups, const std::vector<Column>& columns) {
  std::vector<std::string> header{"strategy", "options", "model", "size",    "ranks", "dtype",
                                  "frames",   "steps",   "kind",  "machine", "runs",  "samples"};
  for (const auto& column : columns) header.push_back(column.title);
  header.push_back("note");
  Table table{header};
  for (const auto& group : groups) {
    const ResultLine& of = group.first;
    std::vector<std::string> row{of.strategy,
                                 options_text(group, groups),
                                 shown(of.model),
                                 group.size(),
                                 shown(of.world_size),
                                 shown(of.dtype),
                                 shown(of.frames),
                                 shown(of.steps),
                                 group.kind(),
                                 group.machine(),
                                 std::to_string(std::max(group.ok.size(), group.latencies().size())),
                                 std::to_string(group.sample_count())};
    for (const auto& column : columns) row.push_back(cell(group, column));
    row.push_back(group.note());
    table.push_back(std::move(row));
  }
  return without_idle_columns(table, kIfVaried);
}

std::string explanation(const std::vector<ResultGroup>& groups) {
  std::string text =
      "Latency: denoising, wall clock of the slowest rank, median (minimum-maximum) of all runs; ~: noisy, they differ "
      "by more than a tenth of it. Memory: highest "
      "allocated "
      "by any rank while denoising, weights included. Definitions: docs/metrics.md.";
  if (std::ranges::any_of(groups, [](const ResultGroup& group) { return group.sample_count() > 1; }))
    text +=
        " Quality, where prompts or seeds differ: mean ± half the width of its 95 % confidence interval, by Student's "
        "t over the samples; the repeats of a prompt with a seed are one sample.";
  return text + "\n\n";
}

std::string provenance_text(const std::vector<ResultLine>& results) {
  std::set<std::string> lines;
  for (const ResultLine& result : results) {
    const Json& p = result.provenance;
    if (!p.is_object()) continue;
    const Json code = p.contains("code") ? p["code"] : Json();
    const bool dirty = code.is_object() && code.contains("dirty") && code["dirty"] == true;
    const std::string gpu = text_at(p, "gpu");
    lines.insert(fmt::format(
        "- {} on {}{}, {} CPU threads, LibTorch {}, commit {}{}", text_at(p, "date", "?").substr(0, 10),
        text_at(p, "cpu", "?"), gpu.empty() ? "" : ", " + gpu, p.value("cpu_threads", 0), text_at(p, "libtorch", "?"),
        text_at(code, "commit", "unknown").substr(0, 12), dirty ? " with uncommitted changes" : ""));
  }
  return fmt::format("{}\n", fmt::join(lines, "\n"));
}

std::string speedup_title(const std::string& base) {
  return fmt::format("Latency and memory divided by those of {}", base);
}

std::string speedup_text(const std::vector<ResultGroup>& groups, const std::string& base) {
  std::string text = fmt::format(
      "\n## {}\n\nMore than 1: `{}` is faster, or needs less memory. Compared are only lines of the same kind, machine "
      "or cluster, model, size, frames, steps, dtype and number of ranks.",
      speedup_title(base), base);
  const Table table = speedup_table(groups, base);
  if (std::ranges::find(table[0], "paper's") != table[0].end())
    text +=
        " \"Paper's\" is the headline of arXiv 2505.21070, for 1,025 frames on 8 RTX 4090: \"up to\" is over its "
        "baselines and models, and its absolute figures could not be had.";
  return text + "\n\n" + markdown_table(table, kWords);
}

// Quality, compared pair by pair.
std::vector<PairedTable> paired_tables(const std::vector<ResultGroup>& groups, const ReportOptions& options) {
  const Baselines& base = options.baselines;
  std::vector<PairedTable> tables;
  if (!base.strategy.empty()) tables.push_back(strategy_pairs(groups, base.strategy, options.fewest_pairs));
  for (const std::string& of : base.variants_of) tables.push_back(variant_pairs(groups, of, options.fewest_pairs));
  if (base.frames) tables.push_back(length_pairs(groups, *base.frames, options.fewest_pairs));
  std::erase_if(tables, [](const PairedTable& table) { return table.rows.size() == 1; });
  return tables;
}

std::string render_markdown(const std::vector<ResultLine>& records, const ReportOptions& options,
                            const fs::path& folder) {
  const auto groups = group_results(records);
  std::string text =
      "# " + options.title + "\n\n" + explanation(groups) + markdown_table(table_of(groups, kRunColumns), kWords);
  if (has_videos(groups)) text += "\n## Quality\n\n" + markdown_table(table_of(groups, video_columns()), kWords);
  if (!options.baselines.strategy.empty()) text += speedup_text(groups, options.baselines.strategy);
  for (const PairedTable& table : paired_tables(groups, options)) text += markdown_section(table);
  const auto list = [&](const char* sub, const char* extension) {
    std::vector<std::string> names;
    if (fs::is_directory(folder / sub))
      for (const auto& item : fs::directory_iterator(folder / sub))
        if (item.path().extension() == extension)
          names.push_back(std::string(sub) + "/" + item.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
  };
  const auto figures = list("figures", ".png");
  if (!figures.empty()) text += "\n## Figures\n\n";
  for (const auto& name : figures) text += fmt::format("![{}]({})\n\n", fs::path(name).stem().string(), name);
  const auto videos = list("videos", ".mp4");
  if (!videos.empty()) text += "\n## Videos\n\n";
  for (const auto& name : videos) text += fmt::format("- [{}]({})\n", fs::path(name).stem().string(), name);
  return text + "\n## Provenance\n\n" + provenance_text(records);
}

}  // namespace

std::string markdown_report(const ReportOptions& options, const fs::path& folder) {
  return render_markdown(read_report_lines(options.results), options, folder);
}

void write_report(const ReportOptions& options, const fs::path& folder) {
  const auto records = read_report_lines(options.results);
  const auto groups = group_results(records);
  std::string latex = latex_table(table_of(groups, kRunColumns), kWords, options.title);
  if (has_videos(groups))
    latex += "\n" + latex_table(table_of(groups, video_columns()), kWords, options.title + ": quality");
  if (!options.baselines.strategy.empty())
    latex += "\n" + latex_table(speedup_table(groups, options.baselines.strategy), kWords,
                                speedup_title(options.baselines.strategy));
  for (const PairedTable& table : paired_tables(groups, options))
    latex += "\n" + latex_table(table.rows, kPairedWords, table.title);
  write_file(folder / "report.md", render_markdown(records, options, folder));
  write_file(folder / "report.tex", latex);
}

}  // namespace dualparal
