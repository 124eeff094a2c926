// SPDX-License-Identifier: Apache-2.0
#include "harness/trace/repeated_section.h"

#include <algorithm>
#include <cmath>

#include "base/errors.h"

namespace dualparal {
namespace {

using Kind = Event::Kind;

// Relative: an event's work is the difference of running sums of up to 1e19.
constexpr double kRounding = 1e-6;

bool near(double a, double b) { return std::abs(a - b) <= kRounding * std::max({1.0, std::abs(a), std::abs(b)}); }

int64_t mark_of(const Event& event, SectionMark mark) {
  return mark == SectionMark::kStep ? event.label.step : event.label.block;
}

// The first work of a step or block, or of one behind it. A wait has the label of an older message, an output none;
// what comes before the video's own blocks has a negative one.
size_t place_of(const RankTrace& trace, SectionMark mark, int64_t value) {
  const auto begins = [&](const Event& e) {
    return e.kind != Kind::kWait && e.kind != Kind::kOutput && e.label.block >= 0 && mark_of(e, mark) >= value;
  };
  return static_cast<size_t>(std::ranges::find_if(trace.events, begins) - trace.events.begin());
}

// As it is so many times later.
void move_on(Event& event, const Repeat& repeat, int64_t times) {
  event.live_bytes += times * repeat.live_bytes;
  if (event.kind == Kind::kOutput) return;
  event.label.block += times * repeat.blocks;
  event.label.step += times * repeat.steps;
}

}  // namespace

bool alike(const Event& a, const Event& b) {
  const WorkLabel &la = a.label, &lb = b.label;
  return a.kind == b.kind && a.peer == b.peer && a.channel == b.channel && a.bytes == b.bytes &&
         a.live_bytes == b.live_bytes && la.first_layer == lb.first_layer && la.last_layer == lb.last_layer &&
         la.first_part == lb.first_part && la.last_part == lb.last_part && la.micro_batch == lb.micro_batch &&
         a.work.operations == b.work.operations && near(a.work.matmul_flops, b.work.matmul_flops) &&
         near(a.work.attention_flops, b.work.attention_flops) &&
         near(a.work.convolution_flops, b.work.convolution_flops) && near(a.work.moved_bytes, b.work.moved_bytes);
}

bool repeat_section(RankTrace& trace, SectionMark mark, int64_t first, int64_t length, int64_t more) {
  if (trace.events.empty() || more == 0) return true;
  const size_t begin = place_of(trace, mark, first), end = place_of(trace, mark, first + length),
               next = place_of(trace, mark, first + 2 * length);
  if (begin == trace.events.size()) return true;
  const size_t size = end - begin;
  if (size == 0 || next - end != size) return false;
  const int64_t steps = mark == SectionMark::kStep ? length : 0;
  Repeat repeat{.begin = begin, .end = end, .times = more + 1, .blocks = length - steps, .steps = steps};
  repeat.live_bytes = trace.events[end].live_bytes - trace.events[begin].live_bytes;
  for (size_t i = begin; i < end; ++i) {
    Event on = trace.events[i];
    move_on(on, repeat, 1);
    const Event& again = trace.events[i + size];
    if (!alike(on, again) || on.label.block != again.label.block || on.label.step != again.label.step) return false;
  }
  for (size_t i = end; i < trace.events.size(); ++i) move_on(trace.events[i], repeat, more);
  trace.repeat = repeat;
  return true;
}

RankTrace written_out(const RankTrace& trace, int64_t before, int64_t behind, int64_t most) {
  if (!trace.repeat) return trace;
  const Repeat& repeat = *trace.repeat;
  check(before >= 0 && behind >= 0 && before + behind < repeat.times,
        "a section that happens {} times cannot be written out {} times beside itself", repeat.times, before + behind);
  const auto all = static_cast<double>(trace.events.size()) +
                   static_cast<double>(before + behind) * static_cast<double>(repeat.end - repeat.begin);
  check(all <= static_cast<double>(most),
        "a shortened trace stands for {:.0f} events, more than the {} that are written out", all, most);
  const auto at = [&](size_t place) { return trace.events.begin() + static_cast<std::ptrdiff_t>(place); };
  RankTrace out = trace;
  out.events.assign(trace.events.begin(), at(repeat.begin));
  const auto add = [&](int64_t time) {
    for (size_t i = repeat.begin; i < repeat.end; ++i) {
      Event event = trace.events[i];
      move_on(event, repeat, time);
      event.begin_s += static_cast<double>(time) * repeat.period_s;
      event.end_s += static_cast<double>(time) * repeat.period_s;
      out.events.push_back(event);
    }
  };
  for (int64_t time = 0; time <= before; ++time) add(time);
  out.repeat->end = out.events.size();
  out.repeat->begin = out.events.size() - (repeat.end - repeat.begin);
  out.repeat->times = repeat.times - before - behind;
  for (int64_t time = repeat.times - behind; time < repeat.times; ++time) add(time);
  out.events.insert(out.events.end(), at(repeat.end), trace.events.end());
  if (out.repeat->times == 1) out.repeat.reset();
  return out;
}

RankTrace expanded(const RankTrace& trace, int64_t most) {
  if (!trace.repeat) return trace;
  const Repeat& repeat = *trace.repeat;
  RankTrace out = written_out(trace, repeat.times - 1, 0, most);
  for (size_t i = out.events.size() - (trace.events.size() - repeat.end); i < out.events.size(); ++i) {
    out.events[i].begin_s += trace.repeated_s();
    out.events[i].end_s += trace.repeated_s();
  }
  out.end_s += trace.repeated_s();
  return out;
}

}  // namespace dualparal
