// SPDX-License-Identifier: Apache-2.0
#include "harness/sweep/bench.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "base/data_dir.h"
#include "base/errors.h"
#include "base/files.h"
#include "base/interrupt.h"
#include "base/progress.h"
#include "harness/record/provenance.h"
#include "harness/record/results.h"
#include "harness/report/report.h"
#include "harness/sweep/bench_point.h"
#include "harness/sweep/bench_reference.h"
#include "harness/sweep/child_process.h"
#include "harness/sweep/experiment.h"
#include "harness/sweep/folder_lock.h"
#include "harness/sweep/lines_so_far.h"
#include "harness/sweep/point_check.h"
#include "harness/sweep/shard.h"

namespace dualparal {
namespace fs = std::filesystem;
namespace {

constexpr const char* kScratch = ".job";  // folders of points under way

// Points that share their traces: one that is generated, and the same one on several clusters.
using Task = std::vector<Point>;

std::vector<Task> tasks_of(const std::vector<Point>& points) {
  std::vector<Task> tasks;
  for (const Point& point : points) {
    const bool alike = !tasks.empty() && tasks.back()[0].flags == point.flags &&
                       tasks.back()[0].repeat == point.repeat && !point.cluster.empty();
    if (!alike) tasks.emplace_back();
    tasks.back().push_back(point);
  }
  return tasks;
}

// Nothing is timed: such points may run beside each other.
bool timeless(const Task& task) {
  const auto mode = task[0].flags.find("mode");
  return mode != task[0].flags.end() && mode->second == "trace";
}

class Bench {
 public:
  /// varied: flags that differ between the points of the whole experiment, of which `experiment` may be a part.
  /// files_of_others: videos and timelines of lines that are of no point of it.
  Bench(const BenchOptions& options, const Experiment& experiment, fs::path folder, std::set<std::string> varied,
        std::set<std::string> files_of_others)
      : options_(options),
        experiment_(experiment),
        folder_(std::move(folder)),
        varied_(std::move(varied)),
        files_of_others_(std::move(files_of_others)),
        references_(folder_, options.quiet) {}

  /// Returns the number of points that failed.
  int64_t run(const std::vector<Point>& missing) {
    const auto tasks = tasks_of(missing);
    total_ = static_cast<int64_t>(missing.size());
    const bool together = std::all_of(tasks.begin(), tasks.end(), timeless);
    const int64_t asked = options_.jobs > 0 ? options_.jobs : std::thread::hardware_concurrency();
    const int64_t jobs = together ? std::min<int64_t>(asked, static_cast<int64_t>(tasks.size())) : 1;
    std::atomic<size_t> next{0};
    std::exception_ptr failure;
    const auto work = [&](int64_t job) {
      try {
        for (size_t i = next++; i < tasks.size(); i = next++)
          run_task(tasks[i], folder_ / fmt::format("{}{}", kScratch, job), jobs > 1);
      } catch (...) {
        const std::lock_guard lock(mutex_);
        failure = std::current_exception();
        next = tasks.size();
      }
    };
    std::vector<std::thread> others;
    for (int64_t job = 1; job < jobs; ++job) others.emplace_back(work, job);
    work(0);
    for (auto& other : others) other.join();
    if (failure) std::rethrow_exception(failure);
    return failed_;
  }

  /// What was kept for points to come; there is none any more.
  void clean_up() { references_.remove(); }

 private:
  void run_task(const Task& task, const fs::path& scratch, bool together) {
    fs::remove_all(scratch);
    fs::create_directories(scratch);
    const auto first_cluster = std::ranges::find_if(task, [](const Point& point) { return !point.cluster.empty(); });
    const bool simulates = first_cluster != task.end();
    std::string untraced;  // why there is nothing to simulate
    for (const Point& point : task) {
      if (!point.cluster.empty() && (fs::exists(scratch / "traces") || !untraced.empty())) break;
      if (point.cluster.empty()) announce(point);
      ResultLine line = point.skip_reason.empty() ? generate(point, scratch, simulates, together)
                                                  : unfinished_line(point, ResultStatus::kSkipped, point.skip_reason);
      if (line.status != ResultStatus::kOk) untraced = line.error.value_or("");
      if (point.cluster.empty()) append(point, std::move(line));
    }
    if (simulates) simulate(task, scratch, untraced);
    fs::remove_all(scratch);
  }

  ResultLine generate(const Point& point, const fs::path& scratch, bool traces, bool quiet) {
    const fs::path file = scratch / "line.jsonl";
    fs::remove(file);
    const bool runs_itself = point.cluster.empty();
    const fs::path video = point.video && runs_itself ? file_of("videos", point, ".mp4") : fs::path();
    const fs::path timeline = point.timeline && runs_itself ? file_of("timelines", point, ".json") : fs::path();
    auto arguments = flag_arguments(point.flags);
    arguments.insert(arguments.begin(), "generate");
    arguments.insert(arguments.end(), {"--result", file.string()});
    if (traces) arguments.insert(arguments.end(), {"--traces", (scratch / "traces").string()});
    if (!video.empty()) arguments.insert(arguments.end(), {"--output", (folder_ / video).string()});
    if (!timeline.empty()) arguments.insert(arguments.end(), {"--timeline", (folder_ / timeline).string()});
    const bool compared = point.reference || point.checked || point.gives_reference;
    if (compared)
      for (auto& argument : references_.arguments()) arguments.push_back(std::move(argument));
    const auto child = run_self(arguments, options_.quiet || quiet);
    if (child.exit_code != 0) return unfinished_line(point, ResultStatus::kFailed, child.error);
    ResultLine line = read_results(file).at(0);
    if (!video.empty()) line.video = video.string();
    if (!timeline.empty()) line.timeline = timeline.string();
    if (compared) references_.fill(line, point);
    return line;
  }

  // All clusters of a task at once: reading its traces takes as long as replaying them.
  void simulate(const Task& task, const fs::path& scratch, const std::string& untraced) {
    const fs::path lines = scratch / "simulated.jsonl";
    std::vector<const Point*> points;
    std::vector<std::string> arguments{"simulate", (scratch / "traces").string(), "--result", lines.string(),
                                       "--quiet"};
    for (const Point& point : task)
      if (!point.cluster.empty()) {
        announce(point);
        points.push_back(&point);
        arguments.insert(arguments.end(), {"--cluster", point.cluster.string()});
      }
    fs::path timeline = points[0]->timeline ? file_of("timelines", *points[0], ".json") : fs::path();
    if (!timeline.empty()) arguments.insert(arguments.end(), {"--timeline", (folder_ / timeline).string()});
    if (points[0]->bands) arguments.push_back("--sweep");
    std::string failure = untraced;
    std::vector<ResultLine> results;
    if (untraced.empty()) {
      failure = run_self(arguments, true).error;
      // Too little memory is a result: the line is there, and says so.
      if (fs::exists(lines)) results = read_results(lines);
    }
    for (size_t i = 0; i < points.size(); ++i) {
      if (i >= results.size()) {
        append(
            *points[i],
            unfinished_line(*points[i], points[i]->skip_reason.empty() ? ResultStatus::kFailed : ResultStatus::kSkipped,
                            failure));
        continue;
      }
      if (!timeline.empty()) results[i].timeline = timeline_of(timeline, results[i], points.size()).string();
      append(*points[i], std::move(results[i]));
    }
  }

  // None that a line of a point which is not in the experiment any more names: that line stays, and so does its file.
  fs::path file_of(const char* folder, const Point& point, const char* extension) const {
    const fs::path usual = point_file(folder, point, varied_, extension);
    if (!files_of_others_.contains(usual.string())) return usual;
    return usual.parent_path() / fmt::format("{}_{}{}", usual.stem().string(), point.key(), extension);
  }

  // As `simulate` names them.
  static fs::path timeline_of(fs::path file, const ResultLine& line, size_t clusters) {
    if (clusters > 1)
      file.replace_filename(file.stem().string() + "_" + line.cluster->name + file.extension().string());
    return file;
  }

  void announce(const Point& point) {
    const std::lock_guard lock(mutex_);
    ++begun_;
    if (options_.quiet) return;
    const double left = watch_.seconds() / static_cast<double>(std::max<int64_t>(1, begun_ - 1)) *
                        static_cast<double>(total_ - begun_ + 1);
    fmt::print(stderr, "# {}/{} {}{}{}\n", begun_, total_, long_label(point, varied_),
               point.repeat > 0 ? fmt::format(" (repeat {})", point.repeat) : "",
               begun_ == 1 ? "" : fmt::format(", about {} left", duration_text(left)));
  }

  void append(const Point& point, ResultLine line) {
    line.experiment = experiment_.name;
    line.point = point.key();
    line.repeat = point.repeat;
    check(line.program_hash == program_hash(),
          "the program was built anew while the experiment ran: its lines would be of two programs; those so far are "
          "in {}",
          (folder_ / "results.jsonl").string());
    const std::lock_guard lock(mutex_);
    const bool does_not_fit = line.kind == ResultKind::kSimulated && line.latency_without_memory_limit_s;
    if (line.status == ResultStatus::kFailed && !does_not_fit) ++failed_;
    append_result(folder_ / "results.jsonl", line);
  }

  const BenchOptions& options_;
  const Experiment& experiment_;
  fs::path folder_;
  std::set<std::string> varied_, files_of_others_;
  References references_;
  Stopwatch watch_;
  std::mutex mutex_;
  int64_t total_ = 0, begun_ = 0, failed_ = 0;
};

}  // namespace

int64_t run_bench(const BenchOptions& options) {
  Experiment experiment = read_experiment(named_yaml("experiment", "configs/experiments", options.experiment));
  const auto varied = varied_flags(experiment);
  std::set<std::string> keys;
  for (const Point& point : experiment.points) keys.insert(point.key());
  keep_only(experiment, options.only);
  std::string folder_name = experiment.name;
  if (!options.shard.empty()) {
    const Shard shard = parse_shard(options.shard);
    keep_shard(experiment, shard);
    folder_name += fmt::format(".{}-of-{}", shard.number, shard.count);
  }
  check_points(experiment);
  const fs::path folder = options.output.empty() ? fs::path("results") / folder_name : options.output;
  const fs::path lines = folder / "results.jsonl";
  if (options.dry_run) {
    fmt::print("{}", list_points(experiment, options.restart ? std::vector<ResultLine>{} : lines_so_far(lines)));
    return 0;
  }
  fs::create_directories(folder);
  // What a killed run has started may take a moment to end.
  const FolderLock lock(folder, std::chrono::seconds(10));
  remove_abandoned_files(folder);
  for (const auto& item : fs::directory_iterator(folder))
    if (item.path().filename().string().starts_with(kScratch)) fs::remove_all(item.path());
  program_hash();  // of the file as it is now: another one may take its place
  set_lines_aside(lines, options.restart);
  const auto before = lines_so_far(lines);
  std::map<std::string, ResultStatus> done;
  for (const ResultLine& line : before)
    if (line.point) done[*line.point] = line.status;
  std::vector<Point> missing;
  for (const auto& point : experiment.points) {
    const auto found = done.find(point.key());
    if (found == done.end() || (options.retry_failed && found->second == ResultStatus::kFailed))
      missing.push_back(point);
  }
  // In rounds: what a machine does meanwhile, growing warm or being shared, meets all points alike.
  std::ranges::stable_sort(missing, {}, &Point::repeat);
  if (!options.quiet)
    fmt::print(stderr, "# {}: {} points, {} to do; results in {}\n", experiment.title, experiment.points.size(),
               missing.size(), folder.string());
  const OnInterrupt interrupt([&] {
    return fmt::format("the points that are done are kept in {}; the same command goes on with the others",
                       lines.string());
  });
  Bench bench(options, experiment, folder, varied, files_of_others(before, keys));
  const int64_t failed = missing.empty() ? 0 : bench.run(missing);
  bench.clean_up();  // even with nothing to do: a kill may have come between the last line and this
  write_report({.results = {lines}, .title = experiment.title}, folder);
  if (!options.quiet) fmt::print(stderr, "# wrote {} and report.md beside it\n", lines.string());
  return failed;
}

}  // namespace dualparal
