// SPDX-License-Identifier: Apache-2.0
#include "comm/recorder.h"

#include <chrono>
#include <exception>

#include "base/device.h"
#include "base/errors.h"
#include "base/measure/memory.h"

namespace dualparal {

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
    case Kind::kCompute:
    case Kind::kOutput:
      break;
  }
  return fmt::format("computing {}", label.text());
}

double event_clock() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Recorder::Span::Span(Recorder& recorder, Event event)
    : recorder_(recorder),
      event_(std::move(event)),
      unwinding_(std::uncaught_exceptions()),
      outer_(recorder.computing_),
      range_([this] { return event_.text(); }) {
  if (outer_) outer_->close();
  if (event_.kind == Event::Kind::kCompute) recorder_.computing_ = this;
  open();
}

Recorder::Span::~Span() {
  if (event_.kind == Event::Kind::kCompute) recorder_.computing_ = outer_;
  if (std::uncaught_exceptions() > unwinding_) return;  // activity() goes on saying what failed
  close();
  if (outer_) outer_->open();
}

void Recorder::Span::open() {
  {
    const std::lock_guard lock(recorder_.mutex_);
    recorder_.busy_ = recorder_.was_busy_ = true;
    recorder_.current_ = event_;
  }
  event_.work = WorkMeter::now();
  event_.begin_s = event_clock();
}

void Recorder::Span::close() {
  if (event_.kind == Event::Kind::kCompute) synchronize(recorder_.device_);
  event_.end_s = event_clock();
  event_.work = event_.kind == Event::Kind::kCompute ? WorkMeter::now() - event_.work : Work{};
  if (recorder_.notes_memory_) event_.live_bytes = memory_usage(recorder_.device_).allocated_bytes;
  recorder_.events_.push_back(event_);
  const std::lock_guard lock(recorder_.mutex_);
  recorder_.busy_ = false;
}

void Recorder::output(int64_t bytes) {
  const double now = event_clock();
  events_.push_back({.kind = Event::Kind::kOutput, .bytes = bytes, .begin_s = now, .end_s = now});
}

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

int64_t Recorder::waiting_for() const {
  const std::lock_guard lock(mutex_);
  return busy_ && current_.kind != Event::Kind::kCompute ? current_.peer : -1;
}

}  // namespace dualparal
