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
  Search(const PlanTask& task, const std::vector<Candidate>& all, int64_t jobs) : task_(task), jobs_(jobs) {
    for (const Candidate& one : all) judged_.push_back({one, {}});
  }

  std::vector<Judged> run(const std::function<void(int64_t)>& progress) {
    bound_all(progress);
    simulate_best(progress);
    return std::move(judged_);
  }

 private:
  // What each can reach at best.
  void bound_all(const std::function<void(int64_t)>& progress) {
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
        if (judged_[i].verdict.kind == Kind::kImpossible) progress(++done_);
      }
    };
    const auto next = [&]() -> std::optional<size_t> {
      if (batch >= judged_.size()) return std::nullopt;
      return std::exchange(batch, batch + kBatch);
    };
    in_processes(jobs_, {next, look, take, [&](size_t i) { return judged_[i].candidate.flags() + " and the next"; }});
  }

  // In the order of what they can reach, as long as that beats what others do.
  void simulate_best(const std::function<void(int64_t)>& progress) {
    std::vector<size_t> order(judged_.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::erase_if(order, [&](size_t i) { return judged_[i].verdict.kind == Kind::kImpossible; });
    std::ranges::stable_sort(order, {}, [&](size_t i) { return judged_[i].verdict.seconds; });
    size_t place = 0;
    const auto next = [&]() -> std::optional<size_t> {
      for (; place < order.size(); progress(++done_), ++place)
        if (judged_[order[place]].verdict.seconds < to_beat(order[place])) return order[place++];
      return std::nullopt;
    };
    const auto look = [&](size_t i) { return evaluate(task_, judged_[i].candidate, to_beat(i)).to_text(); };
    const auto take = [&](size_t i, const std::string& text) {
      Judged& one = judged_[i];
      one.verdict = Verdict::from_text(text);
      progress(++done_);
      if (one.verdict.kind != Kind::kSimulated) return;
      any_ = std::min(any_, one.verdict.seconds);
      if (one.candidate.exact) exact_ = std::min(exact_, one.verdict.seconds);
    };
    in_processes(jobs_, {next, look, take, [&](size_t i) { return judged_[i].candidate.flags(); }});
  }

  double to_beat(size_t i) const { return judged_[i].candidate.exact ? exact_ : any_; }

  const PlanTask& task_;
  int64_t jobs_;
  std::vector<Judged> judged_;
  int64_t done_ = 0;
  double any_ = std::numeric_limits<double>::infinity(), exact_ = any_;
};

}  // namespace

std::vector<Judged> search(const PlanTask& task, const std::vector<Candidate>& all, int64_t jobs,
                           const std::function<void(int64_t)>& progress) {
  return Search(task, all, jobs).run(progress);
}

}  // namespace dualparal
