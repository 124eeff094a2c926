// SPDX-License-Identifier: Apache-2.0
#include "base/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>

namespace dualparal {

std::string duration_text(double seconds) {
  const auto whole = static_cast<int64_t>(std::ceil(std::max(seconds, 0.0)));
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole % 3600 / 60);
}

Progress::Progress(std::string what, std::string unit, bool quiet)
    : what_(std::move(what)), unit_(std::move(unit)), quiet_(quiet), terminal_(isatty(STDERR_FILENO)) {}

Progress::~Progress() {
  if (open_line_) std::fputs("\n", stderr);
}

bool Progress::due(bool last) {
  const double elapsed = watch_.seconds();
  if (quiet_ || (!last && elapsed - last_shown_ < (terminal_ ? 0.1 : 10.0))) return false;
  last_shown_ = elapsed;
  return true;
}

void Progress::show(const std::string& text) {
  fmt::print(stderr, "{}{}: {}{}", terminal_ ? "\r\033[K" : "", what_, text, terminal_ ? "" : "\n");
  std::fflush(stderr);
  open_line_ = terminal_;
}

void Progress::update(int64_t done, int64_t total) {
  if (!due(done >= total)) return;
  const double elapsed = watch_.seconds();
  const double left = done > 0 ? elapsed / static_cast<double>(done) * static_cast<double>(total - done) : 0;
  const std::string rest =
      done < total ? fmt::format("{} left", duration_text(left)) : fmt::format("done in {}", duration_text(elapsed));
  show(fmt::format("{} {}/{}, {}", unit_, done, total, rest));
}

void Progress::count(int64_t done, const std::string& units) {
  if (!due(false)) return;
  const double elapsed = watch_.seconds();
  show(fmt::format("{} {}, {:.2f} a second", done, units, elapsed > 0 ? static_cast<double>(done) / elapsed : 0));
}

}  // namespace dualparal
