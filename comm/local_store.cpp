// SPDX-License-Identifier: Apache-2.0
#include "comm/local_store.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "base/errors.h"

namespace dualparal {
namespace {

using Message = std::vector<std::string>;
using Bytes = std::vector<uint8_t>;
using namespace std::chrono_literals;

// How often a waiting rank asks. Ranks wait before and after the work that is timed, not in it.
constexpr auto kAsk = 1ms;

// A message: the number of texts, then the length of each and its bytes.
bool send_all(int descriptor, const void* data, size_t size) {
  for (size_t done = 0; done < size;) {
    const ssize_t count = ::send(descriptor, static_cast<const char*>(data) + done, size - done, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    done += static_cast<size_t>(count);
  }
  return true;
}

bool receive_all(int descriptor, void* data, size_t size) {
  for (size_t done = 0; done < size;) {
    const ssize_t count = ::recv(descriptor, static_cast<char*>(data) + done, size - done, 0);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    done += static_cast<size_t>(count);
  }
  return true;
}

bool send_message(int descriptor, const Message& message) {
  std::string bytes;
  const auto add = [&](uint64_t number) { bytes.append(reinterpret_cast<const char*>(&number), sizeof number); };
  add(message.size());
  for (const auto& text : message) {
    add(text.size());
    bytes += text;
  }
  return send_all(descriptor, bytes.data(), bytes.size());
}

std::optional<Message> receive_message(int descriptor) {
  uint64_t count = 0, size = 0;
  if (!receive_all(descriptor, &count, sizeof count)) return std::nullopt;
  Message message;
  for (uint64_t i = 0; i < count; ++i) {
    if (!receive_all(descriptor, &size, sizeof size)) return std::nullopt;
    std::string text(size, '\0');
    if (!receive_all(descriptor, text.data(), size)) return std::nullopt;
    message.push_back(std::move(text));
  }
  return message;
}

std::string text_of(const Bytes& bytes) { return {bytes.begin(), bytes.end()}; }
Bytes bytes_of(const std::string& text) { return {text.begin(), text.end()}; }

class LocalStore final : public c10d::Store {
 public:
  explicit LocalStore(int descriptor) : descriptor_(descriptor) {}
  ~LocalStore() override { ::close(descriptor_); }

  c10::intrusive_ptr<Store> clone() override {
    // Its calls lock: the same one may be used by several threads.
    return c10::intrusive_ptr<Store>::reclaim_copy(this);
  }

  void set(const std::string& key, const Bytes& value) override { ask({"set", key, text_of(value)}); }
  Bytes compareSet(const std::string& key, const Bytes& expected, const Bytes& desired) override {
    return bytes_of(ask({"compare_set", key, text_of(expected), text_of(desired)}).at(0));
  }
  Bytes get(const std::string& key) override {
    wait({key}, timeout_);
    return bytes_of(ask({"get", key}).at(0));
  }
  int64_t add(const std::string& key, int64_t value) override {
    return std::stoll(ask({"add", key, std::to_string(value)}).at(0));
  }
  bool deleteKey(const std::string& key) override { return ask({"delete", key}).at(0) == "1"; }
  bool check(const std::vector<std::string>& keys) override {
    Message request{"check"};
    request.insert(request.end(), keys.begin(), keys.end());
    return ask(request).at(0) == "1";
  }
  int64_t getNumKeys() override { return std::stoll(ask({"count"}).at(0)); }
  void wait(const std::vector<std::string>& keys) override { wait(keys, timeout_); }
  void wait(const std::vector<std::string>& keys, const std::chrono::milliseconds& timeout) override {
    const auto deadline = std::chrono::steady_clock::now() + timeout;
    while (!check(keys)) {
      dualparal::check(timeout == kNoTimeout || std::chrono::steady_clock::now() < deadline,
                       "nobody set the key {} within {} ms", fmt::join(keys, ", "), timeout.count());
      std::this_thread::sleep_for(kAsk);
    }
  }

 private:
  Message ask(const Message& request) {
    const std::lock_guard lock(mutex_);
    auto reply = send_message(descriptor_, request) ? receive_message(descriptor_) : std::nullopt;
    dualparal::check(reply.has_value(), "the process that holds the store has ended");
    return std::move(*reply);
  }

  int descriptor_;
  std::mutex mutex_;
};

}  // namespace

LocalStoreServer::~LocalStoreServer() {
  for (const int descriptor : descriptors_) ::shutdown(descriptor, SHUT_RDWR);
  for (auto& thread : threads_) thread.join();
  for (const int descriptor : descriptors_) ::close(descriptor);
}

int LocalStoreServer::connect() {
  int ends[2];
  const int reason = ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0 ? 0 : errno;
  check(reason == 0, "cannot connect to the local store: {}", std::strerror(reason));
  descriptors_.push_back(ends[0]);
  threads_.emplace_back([this, descriptor = ends[0]] { serve(descriptor); });
  return ends[1];
}

void LocalStoreServer::serve(int descriptor) {
  try {
    while (const auto request = receive_message(descriptor))
      if (!send_message(descriptor, answer(*request))) return;
  } catch (const std::exception&) {
    ::shutdown(descriptor, SHUT_RDWR);  // no message of ours: who sent it finds the store gone
  }
}

Message LocalStoreServer::answer(const Message& request) {
  const std::string& what = request.at(0);
  const std::lock_guard lock(mutex_);
  if (what == "count") return {std::to_string(values_.size())};
  if (what == "check")
    return {std::all_of(request.begin() + 1, request.end(), [&](const auto& key) { return values_.contains(key); })
                ? "1"
                : "0"};
  const std::string& key = request.at(1);
  if (what == "delete") return {values_.erase(key) > 0 ? "1" : "0"};
  if (what == "get") return {values_.contains(key) ? values_.at(key) : ""};
  if (what == "set") {
    values_[key] = request.at(2);
    return {""};
  }
  if (what == "add") {
    std::string& value = values_[key];
    value = std::to_string((value.empty() ? 0 : std::stoll(value)) + std::stoll(request.at(2)));
    return {value};
  }
  check(what == "compare_set", "the local store was asked for '{}'", what);
  // As c10d's stores have it: a key that is not there equals the empty text.
  const auto found = values_.find(key);
  if (found == values_.end() && !request.at(2).empty()) return {request.at(2)};
  if (found != values_.end() && found->second != request.at(2)) return {found->second};
  return {values_[key] = request.at(3)};
}

c10::intrusive_ptr<c10d::Store> local_store(int descriptor) {
  ::fcntl(descriptor, F_SETFD, FD_CLOEXEC);  // an inherited one is not for what this process starts
  return c10::make_intrusive<LocalStore>(descriptor);
}

}  // namespace dualparal
