// SPDX-License-Identifier: Apache-2.0
// Reads a JSON object key by key and refuses what nobody asked for.
#pragma once

#include <filesystem>
#include <set>
#include <string>

#include "base/errors.h"
#include "base/files.h"
#include "base/parse_json.h"

namespace dualparal {

class ConfigReader {
 public:
  explicit ConfigReader(std::filesystem::path file) : file_(std::move(file)) {
    try {
      json_ = parse_json(read_file(file_));
    } catch (const nlohmann::json::exception& error) {
      fail("{}: not valid JSON: {}", file_.string(), error.what());
    }
    check(json_.is_object(), "{}: expected a JSON object", file_.string());
  }

  bool has(const std::string& key) const { return json_.contains(key) && !json_[key].is_null(); }

  /// The value of `key`; Error if it is missing, null, or of another type.
  template <class T>
  T required(const std::string& key) {
    check(has(key), "{}: key '{}' is missing", file_.string(), key);
    return convert<T>(key);
  }

  /// The value of `key`, or `fallback` if it is missing or null.
  template <class T>
  T optional(const std::string& key, T fallback) {
    known_.insert(key);
    return has(key) ? convert<T>(key) : fallback;
  }

  /// A positive integer. Larger than `most`, four times what any published model has, it is a mistake that would take
  /// all memory.
  int64_t size(const std::string& key, int64_t most = 1 << 20) {
    const auto value = required<int64_t>(key);
    check(value > 0, "{}: '{}' expected a positive number, got {}", file_.string(), key, value);
    check(value <= most, "{}: '{}' expected at most {}, got {}", file_.string(), key, most, value);
    return value;
  }

  /// Accepts the key only with one of these values (or missing, which means the first one).
  void only(const std::string& key, std::initializer_list<nlohmann::json> values) {
    known_.insert(key);
    if (!json_.contains(key)) return;
    std::string expected;
    for (const auto& value : values) {
      if (json_[key] == value) return;
      expected += (expected.empty() ? "" : " or ") + value.dump();
    }
    fail("{}: '{}' = {} is not supported, expected {}", file_.string(), key, json_[key].dump(), expected);
  }

  /// Keys that carry no meaning for inference.
  void ignore(std::initializer_list<const char*> keys) { known_.insert(keys.begin(), keys.end()); }

  /// Refuses keys that were neither read nor ignored; those starting with '_' are notes of the writer.
  void refuse_unknown() const {
    for (const auto& [key, value] : json_.items())
      check(key.starts_with("_") || known_.contains(key),
            "{}: unknown key '{}' (= {}): this program does not know what it would change", file_.string(), key,
            value.dump());
  }

  const std::filesystem::path& file() const { return file_; }
  const nlohmann::json& json() const { return json_; }

 private:
  template <class T>
  T convert(const std::string& key) {
    known_.insert(key);
    const auto& value = json_[key];
    try {
      if constexpr (std::is_same_v<T, int64_t>)
        check(value.is_number_integer(), "{}: '{}' expected an integer, got {}", file_.string(), key, value.dump());
      return value.get<T>();
    } catch (const nlohmann::json::exception&) {
      fail("{}: '{}' = {} has the wrong type", file_.string(), key, value.dump());
    }
  }

  std::filesystem::path file_;
  nlohmann::json json_;
  std::set<std::string> known_;
};

}  // namespace dualparal
