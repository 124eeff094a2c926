// SPDX-License-Identifier: Apache-2.0
#include "base/files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <mutex>
#include <regex>
#include <set>
#include <sstream>
#include <thread>
#include <vector>

#include "base/errors.h"

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

}  // namespace

void remove_pending_files() {
  const std::lock_guard lock(pending_mutex);
  std::error_code ignored;
  for (const auto& file : pending_files) fs::remove(file, ignored);
}

void remove_abandoned_files(const fs::path& folder) {
  static const std::regex pending(R"(\..*\.(\d{1,9})\.partial(\..*)?)");  // as below
  std::vector<fs::path> abandoned;
  for (const auto& file : fs::recursive_directory_iterator(folder, fs::directory_options::skip_permission_denied)) {
    std::smatch match;
    const std::string name = file.path().filename().string();
    if (file.is_regular_file() && std::regex_match(name, match, pending) && !runs(match[1]))
      abandoned.push_back(file.path());
  }
  std::error_code ignored;
  for (const auto& file : abandoned) fs::remove(file, ignored);
}

PendingFile::PendingFile(fs::path target) : target_(std::move(target)) {
  const fs::path folder = target_.has_parent_path() ? target_.parent_path() : fs::path(".");
  std::error_code error;
  fs::create_directories(folder, error);
  check(fs::is_directory(folder), "{}: cannot make the folder: {}", folder.string(),
        error ? error.message() : "a file of that name is in the way");
  check(!fs::is_directory(target_), "{}: expected a file name, this is a folder", target_.string());
  // Keeps the extension: some writers choose the format by it.
  pending_ = folder / fmt::format(".{}.{}.partial{}", target_.stem().string(), getpid(), target_.extension().string());
  const std::lock_guard lock(pending_mutex);
  pending_files.insert(pending_);
}

PendingFile::~PendingFile() {
  std::error_code ignored;
  if (!committed_) fs::remove(pending_, ignored);
  const std::lock_guard lock(pending_mutex);
  pending_files.erase(pending_);
}

void PendingFile::commit() {
  const int descriptor = ::open(pending_.c_str(), O_RDONLY | O_CLOEXEC);
  check(descriptor >= 0, "{}: cannot write: {}", target_.string(), std::strerror(errno));
  const int synced = ::fsync(descriptor);
  const int reason = errno;
  ::close(descriptor);
  check(synced == 0, "{}: cannot write: {}", target_.string(), std::strerror(reason));
  std::error_code error;
  fs::rename(pending_, target_, error);
  check(!error, "{}: cannot write: {}", target_.string(), error.message());
  committed_ = true;
}

void write_file(const fs::path& target, const std::string& content) {
  PendingFile file(target);
  {
    std::ofstream out(file.path(), std::ios::binary);
    out << content;
    out.flush();
    check(out.good(), "{}: cannot write: {}", target.string(), std::strerror(errno));
  }
  file.commit();
}

void append_line(const fs::path& target, const std::string& line) {
  std::error_code ignored;
  if (target.has_parent_path()) fs::create_directories(target.parent_path(), ignored);
  const int descriptor = ::open(target.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  check(descriptor >= 0, "{}: cannot append: {}", target.string(), std::strerror(errno));
  const std::string whole = line + "\n";
  const ssize_t written = ::write(descriptor, whole.data(), whole.size());
  const int reason = written == static_cast<ssize_t>(whole.size()) ? ::fsync(descriptor) : -1;
  const int code = errno;
  ::close(descriptor);
  // fsync on a pipe or terminal is refused with EINVAL: the line has been written all the same.
  check(written == static_cast<ssize_t>(whole.size()) && (reason == 0 || code == EINVAL), "{}: cannot append: {}",
        target.string(), std::strerror(code));
}

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  check(in.good() && !fs::is_directory(path), "{}: cannot read: {}", path.string(),
        fs::is_directory(path) ? "it is a folder" : std::strerror(errno));
  std::ostringstream content;
  content << in.rdbuf();
  check(!in.bad(), "{}: cannot read: {}", path.string(), std::strerror(errno));
  return content.str();
}

}  // namespace dualparal
