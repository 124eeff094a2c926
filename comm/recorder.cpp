// SPDX-License-Identifier: Apache-2.0
#include "comm/recorder.h"

#include <algorithm>
#include <exception>

#include "base/errors.h"
#include "base/measure/memory.h"

namespace dualparal {
namespace {

constexpr size_t kHandedAtOnce = 1024;  // events

}  // namespace

std::string WorkLabel::Span::text() const {
  return first == last ? std::to_string(first) : fmt::format("{}..{}", first, last);
}

std::string WorkLabel::text() const {
  std::string out = frames.known() ? "frames " + frames.text() : fmt::format("block {}", block);
  out += steps.known() && steps.first < steps.last ? ", steps " + steps.text()
                                                   : fmt::format(", step {}", steps.known() ? steps.first : step);
  if (last_layer >= first_layer) out += fmt::format(", layers {}..{}", first_layer, last_layer);
  if (last_layer >= first_layer && !whole_layers())
    out += fmt::format(" (from {} of {} to {} of {})", kLayerPartNames.at(static_cast<size_t>(first_part)), first_layer,
                       kLayerPartNames.at(static_cast<size_t>(last_part)), last_layer);
  return out;
}

std::string Event::text() const {
  switch (kind) {
    case Kind::kSend:
      return fmt::format("sending to rank {}: {}", peer, label.text());
    case Kind::kReceive:
      return fmt::format("waiting for rank {}: {}", peer, label.text());
    case Kind::kWait:
      return fmt::format("waiting for rank {} to take: {}", peer, label.text());
    case Kind::kToHost:
      return fmt::format("copying to host memory: {}", label.text());
    case Kind::kFromHost:
      return fmt::format("copying from host memory: {}", label.text());
    case Kind::kHostWait:
      return fmt::format("waiting for copies to and from host memory: {}", label.text());
    case Kind::kExchange:
      return fmt::format("exchanging with {} ranks: {}", peer, label.text());
    case Kind::kCompute:
    case Kind::kOutput:
    case Kind::kVideo:
      break;
  }
  return fmt::format("computing {}", label.text());
}

Recorder::Span::Span(Recorder& recorder, Event event)
    : recorder_(recorder),
      event_(std::move(event)),
      unwinding_(std::uncaught_exceptions()),
      outer_(recorder.computing_),
      range_([this] { return event_.text(); }) {
  recorder_.rethrow_fault();
  if (outer_) outer_->close();
  open();
  if (event_.kind == Event::Kind::kCompute) recorder_.computing_ = this;
}

Recorder::Span::~Span() {
  if (event_.kind == Event::Kind::kCompute) recorder_.computing_ = outer_;
  if (std::uncaught_exceptions() > unwinding_) return;  // activity() goes on saying what failed
  try {
    close();
    if (outer_) outer_->open();
  } catch (...) {
    recorder_.fault_ = std::current_exception();  // a destructor that threw it would end the process
  }
}

void Recorder::Span::open() {
  recorder_.follow_device();
  {
    const std::lock_guard lock(recorder_.mutex_);
    recorder_.busy_ = recorder_.was_busy_ = true;
    recorder_.current_ = event_;
  }
  event_.work = WorkMeter::now();
  begin_mark_ = recorder_.clock_.mark();
}

void Recorder::Span::close() {
  const int64_t end_mark = recorder_.clock_.mark();
  event_.work = event_.kind == Event::Kind::kCompute ? WorkMeter::now() - event_.work : Work{};
  if (recorder_.notes_memory_) event_.live_bytes = memory_usage(recorder_.device_).allocated_bytes;
  recorder_.events_.push_back(event_);
  recorder_.marks_.emplace_back(begin_mark_, end_mark);
  const std::lock_guard lock(recorder_.mutex_);
  recorder_.busy_ = false;
}

void Recorder::rethrow_fault() {
  if (fault_) std::rethrow_exception(std::exchange(fault_, nullptr));
}

void Recorder::follow_device() {
  const int64_t marks = clock_.passed();
  while (passed_ < events_.size() && marks_[passed_].second < marks) ++passed_;
  if (take_ && passed_ >= kHandedAtOnce) hand_over();
  const std::lock_guard lock(mutex_);
  behind_ = passed_ < events_.size();
  if (behind_) at_device_ = events_[passed_];
}

// Called where no span is open: marks of the events that stay are the only ones that are still to be asked for.
void Recorder::hand_over() {
  const auto count = static_cast<std::ptrdiff_t>(passed_);
  for (size_t i = 0; i < passed_; ++i) {
    events_[i].begin_s = clock_.own_seconds(marks_[i].first);
    events_[i].end_s = clock_.own_seconds(marks_[i].second);
    take_(events_[i]);
  }
  events_.erase(events_.begin(), events_.begin() + count);
  marks_.erase(marks_.begin(), marks_.begin() + count);
  passed_ = 0;
  int64_t needed = clock_.passed();
  for (const auto& [begin, end] : marks_) needed = std::min(needed, begin);
  clock_.forget_before(needed);
}

void Recorder::hand_to(std::function<void(const Event&)> take) { take_ = std::move(take); }

ClockLine Recorder::end_handing() {
  rethrow_fault();
  const ClockLine line = clock_.line();
  follow_device();
  check(passed_ == events_.size(), "{} events are not over on an idle device", events_.size() - passed_);
  hand_over();
  take_ = nullptr;
  return line;
}

const std::vector<Event>& Recorder::events() {
  rethrow_fault();
  check(!take_, "events that were handed over were asked for");
  const auto seconds = clock_.read();
  for (size_t i = 0; i < events_.size(); ++i) {
    events_[i].begin_s = seconds.at(static_cast<size_t>(marks_[i].first));
    events_[i].end_s = seconds.at(static_cast<size_t>(marks_[i].second));
  }
  return events_;
}

void Recorder::clear() {
  events_.clear();
  marks_.clear();
  passed_ = 0;
  take_ = nullptr;
  clock_.restart();
  const std::lock_guard lock(mutex_);
  behind_ = false;
}

Recorder::Span Recorder::host_copy(Event::Kind kind, int64_t bytes) {
  return {*this, {.kind = kind, .label = computing_ ? computing_->event_.label : WorkLabel{}, .bytes = bytes}};
}

void Recorder::note_moment(Event event) {
  const int64_t now = clock_.mark();
  events_.push_back(std::move(event));
  marks_.emplace_back(now, now);
}

void Recorder::output(int64_t bytes) { note_moment({.kind = Event::Kind::kOutput, .bytes = bytes}); }

void Recorder::begin_video() { note_moment({.kind = Event::Kind::kVideo}); }

void Recorder::set_phase(const std::string& phase) {
  const std::lock_guard lock(mutex_);
  phase_ = phase;
  busy_ = was_busy_ = false;
}

std::string Recorder::activity() const {
  const std::lock_guard lock(mutex_);
  if (busy_) return current_.text();
  return was_busy_ ? "done with " + current_.text() : phase_;
}

std::string Recorder::activity_of_device() const {
  const std::string host = activity();
  const std::lock_guard lock(mutex_);
  if (!behind_ || at_device_.text() == current_.text()) return host;
  return fmt::format("{} (the device last known to be at: {})", host, at_device_.text());
}

int64_t Recorder::waiting_for() const {
  const std::lock_guard lock(mutex_);
  return busy_ && current_.kind != Event::Kind::kCompute ? current_.peer : -1;
}

}  // namespace dualparal
