// SPDX-License-Identifier: Apache-2.0
#include "harness/plan/search.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <optional>
#include <utility>

#include "base/parse_json.h"
#include "harness/plan/processes.h"

namespace dualparal {
namespace {

using Kind = Verdict::Kind;

constexpr size_t kBatch = 8;  // candidates of which a process looks at one rank

class Search {
 public:
  Search(const PlanTask& task, const std::vector<Candidate>& all, int64_t jobs,
         const std::function<void(int64_t, int64_t)>& progress)
      : task_(task), jobs_(jobs), progress_(progress) {
    for (const Candidate& one : all) judged_.push_back({one, {}});
  }

  std::vector<Judged> run() {
    bound_all();
    simulate_best(0);
    const size_t behind = judged_.size();
    add_caches_on_host();
    simulate_best(behind);
    return std::move(judged_);
  }

 private:
  // What each can reach at best.
  void bound_all() {
    size_t batch = 0;
    const auto end_of = [&](size_t begin) { return std::min(begin + kBatch, judged_.size()); };
    const auto look = [&](size_t begin) {
      auto texts = nlohmann::json::array();
      for (size_t i = begin; i < end_of(begin); ++i) texts.push_back(bound(task_, judged_[i].candidate).to_text());
      return texts.dump();
    };
    const auto take = [&](size_t begin, const std::string& text) {
      const auto texts = parse_json(text);
      for (size_t i = begin; i < end_of(begin); ++i) {
        judged_[i].verdict = Verdict::from_text(texts.at(i - begin).get<std::string>());
        if (judged_[i].verdict.kind == Kind::kImpossible) done();
      }
    };
    const auto next = [&]() -> std::optional<size_t> {
      if (batch >= judged_.size()) return std::nullopt;
      return std::exchange(batch, batch + kBatch);
    };
    in_processes(jobs_, {next, look, take, [&](size_t i) { return judged_[i].candidate.flags() + " and the next"; }});
  }

  // Of those that are, or would be, the fastest, where caches are what a device has no memory for, or most of what is
  // in it. Their way to the host and back takes time beside the computing at best: it bounds them as it is without.
  void add_caches_on_host() {
    std::vector<Judged> more;
    for (size_t i = 0; i < judged_.size(); ++i) {
      const auto& [candidate, verdict] = judged_[i];
      const bool large = verdict.kind == Kind::kTooLarge && verdict.cache_bytes > 0;
      const bool mostly = verdict.kind == Kind::kSimulated && 2 * verdict.cache_bytes > verdict.memory_bytes;
      if ((large || mostly) && verdict.seconds <= to_beat(i))
        more.push_back({*with_caches_on_host(candidate), {.kind = Kind::kSlower, .seconds = verdict.seconds}});
    }
    judged_.insert(judged_.end(), more.begin(), more.end());
  }

  // Those from `first` on, in the order of what they can reach, as long as that beats what others do.
  void simulate_best(size_t first) {
    std::vector<size_t> order(judged_.size() - first);
    std::iota(order.begin(), order.end(), first);
    std::erase_if(order, [&](size_t i) { return judged_[i].verdict.kind == Kind::kImpossible; });
    std::ranges::stable_sort(order, {}, [&](size_t i) { return judged_[i].verdict.seconds; });
    size_t place = 0;
    const auto next = [&]() -> std::optional<size_t> {
      for (; place < order.size(); done(), ++place)
        if (judged_[order[place]].verdict.seconds <= to_beat(order[place])) return order[place++];
      return std::nullopt;
    };
    const auto look = [&](size_t i) { return evaluate(task_, judged_[i].candidate, to_beat(i)).to_text(); };
    const auto take = [&](size_t i, const std::string& text) {
      Judged& one = judged_[i];
      one.verdict = Verdict::from_text(text);
      done();
      if (one.verdict.kind != Kind::kSimulated) return;
      any_ = std::min(any_, one.verdict.seconds);
      if (one.candidate.exact) exact_ = std::min(exact_, one.verdict.seconds);
    };
    in_processes(jobs_, {next, look, take, [&](size_t i) { return judged_[i].candidate.flags(); }});
  }

  void done() { progress_(++done_, static_cast<int64_t>(judged_.size())); }
  double to_beat(size_t i) const { return judged_[i].candidate.exact ? exact_ : any_; }

  const PlanTask& task_;
  int64_t jobs_;
  const std::function<void(int64_t, int64_t)>& progress_;
  std::vector<Judged> judged_;
  int64_t done_ = 0;
  double any_ = std::numeric_limits<double>::infinity(), exact_ = any_;
};

}  // namespace

std::vector<Judged> search(const PlanTask& task, const std::vector<Candidate>& all, int64_t jobs,
                           const std::function<void(int64_t, int64_t)>& progress) {
  return Search(task, all, jobs, progress).run();
}

}  // namespace dualparal
