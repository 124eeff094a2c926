// SPDX-License-Identifier: Apache-2.0
// The store of ranks that another launcher has started, and what may stand at its address instead.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "comm/rendezvous.h"
#include "tests/testing.h"

namespace dualparal::testing {
namespace {

using namespace std::chrono_literals;

// Something that listens on a port of this machine, and does with each connection what it is told.
class Listener {
 public:
  explicit Listener(std::function<void(int connection)> serve)
      : socket_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    check(bind(socket_, reinterpret_cast<sockaddr*>(&address), size) == 0 && listen(socket_, 8) == 0 &&
              getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size) == 0,
          "no port to listen on");
    port = ntohs(address.sin_port);
    thread_ = std::thread([this, serve = std::move(serve)] {
      for (int connection = 0; (connection = accept(socket_, nullptr, nullptr)) >= 0;) {
        serve(connection);
        connections_.push_back(connection);
      }
    });
  }
  ~Listener() {
    shutdown(socket_, SHUT_RDWR);
    thread_.join();
    for (const int connection : connections_) close(connection);
    close(socket_);
  }
  uint16_t port = 0;

 private:
  int socket_;
  std::vector<int> connections_;
  std::thread thread_;
};

uint16_t free_port() {
  return Listener([](int) {}).port;
}

RankEnvironment at_port(uint16_t port, int64_t rank, int64_t local_world_size = 2) {
  return {.rank = rank,
          .world_size = 2,
          .local_rank = rank,
          .local_world_size = local_world_size,
          .master_addr = "127.0.0.1",
          .master_port = port,
          .hosted = false};
}

// Local addresses, as the kernel writes them, of the sockets that listen on a port.
std::vector<std::string> listening_on(uint16_t port) {
  std::vector<std::string> addresses;
  for (const char* table : {"/proc/net/tcp", "/proc/net/tcp6"}) {
    std::ifstream in(table);
    std::string number, local, remote, state, line;
    std::getline(in, line);
    while (in >> number >> local >> remote >> state && std::getline(in, line))
      if (state == "0A" && local.ends_with(fmt::format(":{:04X}", port)))
        addresses.push_back(local.substr(0, local.find(':')));
  }
  return addresses;
}

BOOST_AUTO_TEST_SUITE(comm_tcp_store)

BOOST_AUTO_TEST_CASE(a_port_in_use_is_named) {
  const Listener other([](int) {});
  for (const int64_t local : {2, 1})
    expect_error<Error>({"port " + std::to_string(other.port), "in use"},
                        [&] { connect_store(at_port(other.port, 0, local), true, 5s); });
}

BOOST_AUTO_TEST_CASE(a_store_that_nobody_opens_is_named) {
  RankEnvironment environment = at_port(free_port(), 1);
  expect_error<Error>({"rank 1", "127.0.0.1:" + std::to_string(environment.master_port), "within 1 s", "refused"},
                      [&] { connect_store(environment, false, 1s); });
  environment.master_addr = "no.such.machine.invalid";
  expect_error<Error>({"rank 1", "no.such.machine.invalid"}, [&] { connect_store(environment, false, 1s); });
}

BOOST_AUTO_TEST_CASE(a_store_that_opens_late_is_waited_for) {
  const RankEnvironment environment = at_port(free_port(), 0);
  c10::intrusive_ptr<c10d::Store> store;
  std::thread late([&] {
    std::this_thread::sleep_for(500ms);
    store = connect_store(environment, true, 60s);
  });
  BOOST_CHECK_NO_THROW(connect_store(environment, false, 60s));
  late.join();
}

// TCPStore would wait for the answer for ever, or print a page for each try.
BOOST_AUTO_TEST_CASE(what_takes_connections_but_is_no_store_is_named_in_time) {
  const auto refused = [](const std::string& word, std::function<void(int)> serve) {
    const Listener listener(std::move(serve));
    expect_error<Error>({"rank 1", "within 1 s", word}, [&] { connect_store(at_port(listener.port, 1), false, 1s); });
  };
  refused("does not answer", [](int) {});
  refused("no rendezvous store",
          [](int connection) { send(connection, "HTTP/1.1 400 Bad Request", 24, MSG_NOSIGNAL); });
  refused("closes them", [](int connection) { shutdown(connection, SHUT_RDWR); });
}

BOOST_AUTO_TEST_CASE(a_store_of_one_machine_is_not_reached_from_others) {
  const RankEnvironment environment = at_port(free_port(), 0);
  const auto store = connect_store(environment, true, 60s), client = connect_store(environment, false, 60s);
  store->set("a", "b");
  BOOST_TEST(client->get_to_str("a") == "b");
  BOOST_TEST(listening_on(environment.master_port) == std::vector<std::string>{"0100007F"},
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
