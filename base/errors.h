// SPDX-License-Identifier: Apache-2.0
// Errors: what was expected, what came, and where. Thrown everywhere, turned into an exit code in main().
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdint>
#include <source_location>
#include <stdexcept>
#include <string>

namespace dualparal {

/// Something failed (exit code 1). The message names the cause: file and tensor, or rank, block and step.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message, std::source_location where = std::source_location::current())
      : std::runtime_error(message), where_(where) {}
  const std::source_location& where() const { return where_; }

 private:
  std::source_location where_;
};

/// The program was asked for something that cannot be (exit code 2): a wrong flag, an impossible option.
class UsageError : public Error {
 public:
  using Error::Error;
};

/// Another rank did not answer: a symptom, whose cause is most likely elsewhere (comm/fault_monitor.h finds it).
class PeerError : public Error {
 public:
  PeerError(int64_t peer, const std::string& message, std::source_location where = std::source_location::current())
      : Error(message, where), peer_(peer) {}
  int64_t peer() const { return peer_; }

 private:
  int64_t peer_;
};

/// What libraries say comes first, their stack traces after it.
inline std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

namespace detail {
/// A format string, checked when compiled, that remembers the line it was written on.
template <class... Args>
struct LocatedFormat {
  template <class String>
  consteval LocatedFormat(const String& text, std::source_location where = std::source_location::current())
      : format(text), where(where) {}
  fmt::format_string<Args...> format;
  std::source_location where;
};
}  // namespace detail

/// Throws Error with the formatted message unless `condition` holds.
template <class... Args>
void check(bool condition, detail::LocatedFormat<std::type_identity_t<Args>...> message, Args&&... args) {
  if (!condition) throw Error(fmt::format(message.format, std::forward<Args>(args)...), message.where);
}

/// Throws UsageError with the formatted message unless `condition` holds.
template <class... Args>
void check_usage(bool condition, detail::LocatedFormat<std::type_identity_t<Args>...> message, Args&&... args) {
  if (!condition) throw UsageError(fmt::format(message.format, std::forward<Args>(args)...), message.where);
}

template <class... Args>
[[noreturn]] void fail(detail::LocatedFormat<std::type_identity_t<Args>...> message, Args&&... args) {
  throw Error(fmt::format(message.format, std::forward<Args>(args)...), message.where);
}

}  // namespace dualparal
