// SPDX-License-Identifier: Apache-2.0
#include "comm/local_store.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>

#include "tests/testing.h"

namespace dualparal::testing {
namespace {

using namespace std::chrono_literals;
using Bytes = std::vector<uint8_t>;

BOOST_AUTO_TEST_SUITE(comm_local_store)

BOOST_AUTO_TEST_CASE(what_one_sets_another_gets) {
  LocalStoreServer server;
  const auto a = local_store(server.connect()), b = local_store(server.connect());
  const Bytes large(3'000'000, 7), empty;
  BOOST_TEST(!a->check({"large"}));
  a->set("large", large);
  a->set("empty", empty);
  BOOST_TEST((b->get("large") == large));
  BOOST_TEST((b->get("empty") == empty));
  BOOST_TEST(b->check({"large", "empty"}));
  BOOST_TEST(!b->check({"large", "none"}));
  BOOST_TEST(b->getNumKeys() == 2);
  BOOST_TEST(a->deleteKey("large"));
  BOOST_TEST(!b->deleteKey("large"));
}

BOOST_AUTO_TEST_CASE(the_first_of_several_sets_a_key) {
  LocalStoreServer server;
  const auto a = local_store(server.connect()), b = local_store(server.connect());
  const Bytes first{1}, second{2};
  BOOST_TEST((a->compareSet("failure", {}, first) == first));
  BOOST_TEST((b->compareSet("failure", {}, second) == first));
  BOOST_TEST((b->compareSet("failure", first, second) == second));
  BOOST_TEST((a->get("failure") == second));
  BOOST_TEST((a->compareSet("none", first, second) == first));
  BOOST_TEST(!a->check({"none"}));
}

BOOST_AUTO_TEST_CASE(numbers_of_many_threads_add_up) {
  LocalStoreServer server;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([store = local_store(server.connect())] {
      for (int j = 0; j < 250; ++j) store->add("sum", 1);
    });
  for (auto& thread : threads) thread.join();
  BOOST_TEST(local_store(server.connect())->add("sum", 0) == 1000);
}

BOOST_AUTO_TEST_CASE(a_key_is_waited_for_until_the_time_is_up) {
  LocalStoreServer server;
  const auto a = local_store(server.connect()), b = local_store(server.connect());
  expect_error({"late", "30 ms"}, [&] { a->wait({"late"}, 30ms); });
  std::thread sets([&] {
    std::this_thread::sleep_for(30ms);
    b->set("late", Bytes{5});
  });
  a->wait({"late"}, 60s);
  BOOST_TEST((a->get("late") == Bytes{5}));
  sets.join();
}

BOOST_AUTO_TEST_CASE(without_the_server_every_call_fails) {
  auto server = std::make_unique<LocalStoreServer>();
  const auto store = local_store(server->connect());
  store->set("a", Bytes{1});
  server.reset();
  expect_error({"holds the store", "ended"}, [&] { store->set("a", Bytes{1}); });
  expect_error({"holds the store", "ended"}, [&] { store->wait({"b"}, 60s); });
}

BOOST_AUTO_TEST_CASE(one_that_stops_in_the_middle_of_a_message_holds_up_no_other) {
  LocalStoreServer server;
  const int stopped = server.connect(), wrong = server.connect();
  BOOST_TEST(send(stopped, "abc", 3, 0) == 3);
  const uint64_t nonsense[] = {1, ~uint64_t{0}};  // a text longer than memory
  BOOST_TEST(send(wrong, nonsense, sizeof nonsense, 0) == static_cast<ssize_t>(sizeof nonsense));
  const auto store = local_store(server.connect());
  store->set("a", Bytes{1});
  BOOST_TEST(store->check({"a"}));
  close(stopped);
  close(wrong);
}

BOOST_AUTO_TEST_CASE(connections_are_not_for_what_a_process_starts) {
  LocalStoreServer server;
  const int descriptor = server.connect();
  BOOST_TEST((fcntl(descriptor, F_GETFD) & FD_CLOEXEC) != 0);
  fcntl(descriptor, F_SETFD, 0);  // as an inherited one has it
  const auto store = local_store(descriptor);
  BOOST_TEST((fcntl(descriptor, F_GETFD) & FD_CLOEXEC) != 0);
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
