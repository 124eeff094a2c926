// SPDX-License-Identifier: Apache-2.0
// What every test file needs: Boost.Test, a folder that vanishes, errors by their words, distances of tensors.
#pragma once

#ifndef BOOST_TEST_DYN_LINK
#define BOOST_TEST_DYN_LINK
#endif
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <unistd.h>

#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "base/errors.h"

namespace dualparal::testing {

namespace fs = std::filesystem;
namespace data = boost::unit_test::data;

/// An empty folder of its own, removed at the end of the scope.
class TempFolder {
 public:
  TempFolder() {
    std::string name = (fs::temp_directory_path() / "dualparal-test-XXXXXX").string();
    check(mkdtemp(name.data()) != nullptr, "{}: cannot make the folder", name);
    path_ = name;
  }
  ~TempFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const fs::path& path() const { return path_; }
  fs::path operator/(const fs::path& name) const { return path_ / name; }
  /// Names of all that is in it.
  std::vector<std::string> list() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(path_)) names.push_back(entry.path().filename());
    return names;
  }

 private:
  fs::path path_;
};

/// Normal numbers, the same for the same seed.
inline at::Tensor randn(at::IntArrayRef shape, uint64_t seed, at::ScalarType dtype = at::kFloat) {
  return at::randn(shape, at::detail::createCPUGenerator(seed)).to(dtype);
}

/// Largest difference, relative to the largest number of `expected`. Infinite for different shapes.
inline double relative_error(const at::Tensor& actual, const at::Tensor& expected) {
  if (actual.sizes() != expected.sizes()) return INFINITY;
  const at::Tensor a = actual.cpu().to(at::kDouble), e = expected.cpu().to(at::kDouble);
  const double error = (a - e).abs().max().item<double>(), size = e.abs().max().item<double>();
  return error == 0 ? 0 : error / size;
}

/// Bit by bit the same: dtype, shape, numbers.
inline bool identical(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() && at::equal(a.cpu(), b.cpu());
}

/// `action` must throw an `Expected` whose message has all of `words`.
template <class Expected = Error, class Action>
void expect_error(const std::vector<std::string>& words, const Action& action) {
  try {
    action();
  } catch (const Expected& error) {
    const std::string message = error.what();
    for (const auto& word : words)
      BOOST_TEST(message.find(word) != std::string::npos, "'" << word << "' is not in the message: " << message);
    return;
  } catch (const std::exception& other) {
    BOOST_ERROR("another kind of error was thrown: " << other.what());
    return;
  }
  BOOST_ERROR("no error was thrown; expected one with '" << (words.empty() ? "" : words[0]) << "'");
}

}  // namespace dualparal::testing
