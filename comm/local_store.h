// SPDX-License-Identifier: Apache-2.0
// c10d's store for ranks that a process starts on its own machine, over pairs of sockets that they inherit: no port
// that a stranger could reach, no names to look up.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <vector>

namespace dualparal {

/// Holds the keys. A thread for each connection: one that stops in the middle of a message holds up no other.
class LocalStoreServer {
 public:
  LocalStoreServer() = default;
  ~LocalStoreServer();
  LocalStoreServer(const LocalStoreServer&) = delete;
  LocalStoreServer& operator=(const LocalStoreServer&) = delete;

  /// The other end of a new connection, for local_store() here or, inherited, in another process. It is closed on exec.
  int connect();

 private:
  void serve(int descriptor);
  std::vector<std::string> answer(const std::vector<std::string>& request);

  std::mutex mutex_;
  std::map<std::string, std::string> values_;
  std::vector<int> descriptors_;
  std::vector<std::thread> threads_;
};

/// A connection to a LocalStoreServer; owns the descriptor. Its calls throw Error when the server is gone.
c10::intrusive_ptr<c10d::Store> local_store(int descriptor);

}  // namespace dualparal
