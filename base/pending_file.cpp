// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <mutex>
#include <regex>
#include <set>
#include <thread>
#include <vector>

#include "base/errors.h"
#include "base/files.h"
#include "base/write_all.h"

namespace dualparal {

namespace fs = std::filesystem;

namespace {

std::mutex pending_mutex;
std::set<fs::path> pending_files;

// A killed process that nobody has waited for still has its number: it is a zombie (Z), or on its way to be one.
bool runs(const std::string& process) {
  for (int attempt = 0; attempt < 10; ++attempt) {
    std::ifstream in("/proc/" + process + "/stat");
    std::string text;
    std::getline(in, text);
    const size_t name_end = text.rfind(')');
    if (name_end == std::string::npos || name_end + 2 >= text.size()) return false;
    if (text[name_end + 2] == 'Z' || text[name_end + 2] == 'X') return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return true;
}

bool abandoned(const fs::directory_entry& file) {
  static const std::regex pending(R"(\..*\.(\d{1,9})\.partial(\..*)?)");  // as below
  std::smatch match;
  const std::string name = file.path().filename().string();
  std::error_code ignored;
  return file.is_regular_file(ignored) && std::regex_match(name, match, pending) && !runs(match[1]);
}

// Keeps the extension: some writers choose the format by it.
std::string pending_name(const fs::path& target, const std::string& process) {
  return fmt::format(".{}.{}.partial{}", target.stem().string(), process, target.extension().string());
}

// Where a link leads, whether something is there or not.
fs::path followed(fs::path path) {
  constexpr int kMostLinks = 40;  // as the system has it
  std::error_code error;
  for (int link = 0; fs::is_symlink(fs::symlink_status(path, error)); ++link) {
    const fs::path to = fs::read_symlink(path, error);
    check(!error && link < kMostLinks, "{}: this link cannot be followed: {}", path.string(),
          error ? error.message() : "it leads to ever more of them");
    path = path.parent_path() / to;  // an absolute one replaces all
  }
  return path;
}

}  // namespace

void note_pending(const fs::path& path) {
  const std::lock_guard lock(pending_mutex);
  pending_files.insert(path);
}

void forget_pending(const fs::path& path) {
  const std::lock_guard lock(pending_mutex);
  pending_files.erase(path);
}

void remove_pending_files() {
  const std::lock_guard lock(pending_mutex);
  std::error_code ignored;
  for (const auto& file : pending_files) fs::remove(file, ignored);
}

void remove_abandoned_files(const fs::path& folder) {
  std::vector<fs::path> found;
  for (const auto& file : fs::recursive_directory_iterator(folder, fs::directory_options::skip_permission_denied))
    if (abandoned(file)) found.push_back(file.path());
  std::error_code ignored;
  for (const auto& file : found) fs::remove(file, ignored);
}

void remove_abandoned_beside(const fs::path& target) {
  const fs::path file = followed(target), folder = file.has_parent_path() ? file.parent_path() : fs::path(".");
  const std::string begin = "." + file.stem().string() + ".";
  std::vector<fs::path> found;
  std::error_code ignored;
  for (const auto& other : fs::directory_iterator(folder, ignored)) {
    const std::string name = other.path().filename().string();
    const std::string process = name.starts_with(begin)
                                    ? name.substr(begin.size(), name.find('.', begin.size()) - begin.size())
                                    : std::string();
    if (!process.empty() && name == pending_name(file, process) && abandoned(other)) found.push_back(other.path());
  }
  for (const auto& other : found) fs::remove(other, ignored);
}

PendingFile::PendingFile(fs::path target) : target_(followed(std::move(target))) {
  const fs::path folder = target_.has_parent_path() ? target_.parent_path() : fs::path(".");
  std::error_code error;
  fs::create_directories(folder, error);
  check(fs::is_directory(folder), "{}: cannot make the folder: {}", folder.string(),
        error ? error.message() : "a file of that name is in the way");
  const std::string other = no_file(target_);
  check(other.empty(), "{}: expected a file name, this is {}", target_.string(), other);
  pending_ = folder / pending_name(target_, std::to_string(getpid()));
  note_pending(pending_);
}

PendingFile::~PendingFile() {
  std::error_code ignored;
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!committed_) fs::remove(pending_, ignored);
  forget_pending(pending_);
}

void PendingFile::write(const void* data, size_t bytes) {
  if (descriptor_ < 0) descriptor_ = ::open(pending_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  const int reason = descriptor_ < 0 ? errno : write_all(descriptor_, data, bytes);
  check(reason == 0, "{}: cannot write: {}", target_.string(), std::strerror(reason));
}

void PendingFile::commit() {
  const int descriptor = ::open(pending_.c_str(), O_RDONLY | O_CLOEXEC);
  const int not_opened = errno;
  check(descriptor >= 0, "{}: cannot write: {}", target_.string(), std::strerror(not_opened));
  const int synced = ::fsync(descriptor);
  const int reason = errno;
  ::close(descriptor);
  check(synced == 0, "{}: cannot write: {}", target_.string(), std::strerror(reason));
  std::error_code error;
  fs::rename(pending_, target_, error);
  check(!error, "{}: cannot write: {}", target_.string(), error.message());
  committed_ = true;
}

}  // namespace dualparal
