// SPDX-License-Identifier: Apache-2.0
#include "comm/rendezvous.h"

#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <thread>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStoreBackend.hpp>

#include "base/errors.h"

namespace dualparal {
namespace {

std::optional<std::string> variable(const char* name) {
  const char* value = std::getenv(name);
  return value && *value ? std::optional<std::string>(value) : std::nullopt;
}

std::optional<int64_t> number(const char* name) {
  const auto text = variable(name);
  if (!text) return std::nullopt;
  check(text->size() < 10 && text->find_first_not_of("0123456789") == std::string::npos,
        "{}={}: expected a whole number", name, *text);
  return std::stoll(*text);
}

// The same names for each launcher: rank, world size, local rank, local world size, and numbers that differ between
// jobs, and between what is started in a job.
struct Names {
  const char *rank, *world_size, *local_rank, *local_world_size, *job, *step;
};
constexpr Names kLaunchers[] = {
    {"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "", ""},
    {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE",
     "OMPI_MCA_ess_base_jobid", ""},
    {"PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS", "", ""},
    {"SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE", "SLURM_JOB_ID",
     "SLURM_STEP_ID"},
};

constexpr int64_t kStepStride = 7919;  // the ports of a job's steps lie apart from those of the next jobs

// Slurm writes "4(x2),3": what matters is whether the first number is the whole.
int64_t leading_number(const std::string& text) { return std::atoll(text.c_str()); }

using Deadline = std::chrono::steady_clock::time_point;

// Waits for an event on a socket. An error number, 0 if it came.
int wait_on(int socket, short event, Deadline deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  pollfd wanted{socket, event, 0};
  return poll(&wanted, 1, static_cast<int>(std::max<int64_t>(left.count(), 1))) > 0 ? 0 : ETIMEDOUT;
}

// Asks as a client of c10d's does first: it says that it is one, and wants a number back. Empty if that comes.
std::string ask_whether_store(int socket, Deadline deadline) {
  using c10d::detail::QueryType;
  const uint32_t magic = c10d::detail::validationMagicNumber, number = static_cast<uint32_t>(getpid());
  std::string question(1, static_cast<char>(QueryType::VALIDATE));
  question.append(reinterpret_cast<const char*>(&magic), sizeof magic);
  question += static_cast<char>(QueryType::PING);
  question.append(reinterpret_cast<const char*>(&number), sizeof number);
  if (send(socket, question.data(), question.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(question.size()))
    return "it takes connections and closes them";
  uint32_t answer = 0;
  for (size_t done = 0; done < sizeof answer;) {
    if (wait_on(socket, POLLIN, deadline) != 0) return "it takes connections and does not answer";
    const ssize_t count = recv(socket, reinterpret_cast<char*>(&answer) + done, sizeof answer - done, 0);
    if (count <= 0) return "it takes connections and closes them";
    done += static_cast<size_t>(count);
  }
  return answer == number ? "" : "what answers there is no rendezvous store";
}

// Empty if a store answers at this address, else why not.
std::string try_address(const addrinfo& address, Deadline deadline) {
  const int client = socket(address.ai_family, address.ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, address.ai_protocol);
  if (client < 0) return std::strerror(errno);
  int reason = connect(client, address.ai_addr, address.ai_addrlen) == 0 ? 0 : errno;
  if (reason == EINPROGRESS) {
    socklen_t size = sizeof reason;
    reason = wait_on(client, POLLOUT, deadline);
    if (reason == 0) getsockopt(client, SOL_SOCKET, SO_ERROR, &reason, &size);
  }
  const std::string why = reason == 0 ? ask_whether_store(client, deadline) : std::strerror(reason);
  close(client);
  return why;
}

// Until a store answers there. TCPStore would try for up to three times its time limit, log a page for each try, and
// wait for ever for the answer of what is no store.
void wait_for_store(const RankEnvironment& environment, std::chrono::milliseconds timeout) {
  using namespace std::chrono_literals;
  constexpr auto kPatience = 3s;  // with one address, when there may be others, or a store on its way
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  std::string reason;
  do {
    addrinfo* found = nullptr;
    const int code =
        getaddrinfo(environment.master_addr.c_str(), std::to_string(environment.master_port).c_str(), &hints, &found);
    const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> addresses(code == 0 ? found : nullptr, freeaddrinfo);
    if (code != 0) reason = gai_strerror(code);
    for (const addrinfo* one = addresses.get(); one; one = one->ai_next) {
      reason = try_address(*one, std::min(deadline, std::chrono::steady_clock::now() + kPatience));
      if (reason.empty()) return;
    }
    std::this_thread::sleep_for(50ms);
  } while (std::chrono::steady_clock::now() < deadline);
  throw Error(reason);
}

// A socket that only this machine can reach. c10d's own listens on every interface, and looks up the name of whoever
// connects; that of 127.0.0.1 stands in /etc/hosts.
int listen_on_loopback(uint16_t port) {
  const int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (server >= 0 && setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
      bind(server, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 && listen(server, SOMAXCONN) == 0)
    return server;
  const int reason = errno;
  if (server >= 0) close(server);
  throw Error(reason == EADDRINUSE ? "EADDRINUSE" : std::strerror(reason));
}

}  // namespace

std::optional<RankEnvironment> rank_environment() {
  for (const Names& names : kLaunchers) {
    const auto rank = number(names.rank), world_size = number(names.world_size);
    if (!rank || !world_size) continue;
    // Inside a Slurm allocation a plain program sees the batch step's own variables: one task is no launch.
    if (*world_size == 1 && std::string_view(names.rank) != "RANK") continue;
    RankEnvironment environment;
    environment.rank = *rank;
    environment.world_size = *world_size;
    check(*world_size >= 1 && *rank < *world_size, "{}={} is not a rank among {}={}", names.rank, *rank,
          names.world_size, *world_size);
    environment.local_rank = number(names.local_rank).value_or(*rank);
    const auto local = variable(names.local_world_size);
    environment.local_world_size = local ? leading_number(*local) : *world_size;
    if (const auto descriptors = variable(kStoreVariable)) {
      environment.hosted = true;
      const int read =
          std::sscanf(descriptors->c_str(), "%d,%d", &environment.store_descriptor, &environment.monitor_descriptor);
      check(read == 2, "{}={}: expected two descriptors", kStoreVariable, *descriptors);
      return environment;
    }
    environment.hosted = variable("TORCHELASTIC_USE_AGENT_STORE") == std::optional<std::string>("True");
    const auto address = variable("MASTER_ADDR");
    const auto port = number("MASTER_PORT");
    check(address || environment.one_machine(),
          "MASTER_ADDR is not set: with ranks on several machines it must name the machine of rank 0");
    // With rank 0 here, too, there is no need for a name, nor for an address that others can reach.
    environment.master_addr =
        environment.one_machine() && !environment.hosted ? "127.0.0.1" : address.value_or("127.0.0.1");
    const auto job = *names.job ? variable(names.job) : std::nullopt;
    const int64_t step = *names.step ? leading_number(variable(names.step).value_or("0")) : 0;
    check(port || job, "MASTER_PORT is not set: it must be a port that is free on the machine of rank 0");
    check(!port || (*port > 0 && *port < 65536), "MASTER_PORT={}: expected 1 to 65535", port.value_or(0));
    environment.master_port =
        static_cast<uint16_t>(port ? *port : 20000 + (leading_number(*job) + kStepStride * step) % 40000);
    return environment;
  }
  return std::nullopt;
}

c10::intrusive_ptr<c10d::Store> connect_store(const RankEnvironment& environment, bool host,
                                              std::chrono::milliseconds timeout) {
  c10d::TCPStoreOptions options;
  options.port = environment.master_port;
  options.isServer = host;
  options.waitWorkers = false;
  options.timeout = timeout;
  try {
    if (!host)
      wait_for_store(environment, timeout);
    else if (environment.one_machine())
      options.masterListenFd = listen_on_loopback(environment.master_port);
    const auto store = c10::make_intrusive<c10d::TCPStore>(environment.master_addr, options);
    // torchrun uses its store for itself, too, and again after a restart.
    const auto attempt = variable("TORCHELASTIC_RESTART_COUNT").value_or("0");
    return c10::make_intrusive<c10d::PrefixStore>("dualparal/" + attempt, store);
  } catch (const std::exception& error) {
    const std::string text = error.what();
    const bool in_use =
        text.find("EADDRINUSE") != std::string::npos || text.find("already in use") != std::string::npos;
    if (in_use)
      fail("port {} of {} is in use: choose another one (MASTER_PORT, or torchrun's --master-port)",
           environment.master_port, environment.master_addr);
    fail("rank {} could not {} {}:{} within {} s: {}", environment.rank,
         host ? "open the rendezvous store at" : "reach the rendezvous store of rank 0 at", environment.master_addr,
         environment.master_port, timeout.count() / 1000, first_line(text));
  }
}

}  // namespace dualparal
