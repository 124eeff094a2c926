// SPDX-License-Identifier: Apache-2.0
// Ranks from the variables that torchrun, Open MPI, PMI and Slurm set.
#include "comm/rendezvous.h"

#include <map>

#include "tests/testing.h"

namespace dualparal::testing {
namespace {

// The variables of one test, and no others that a launcher sets.
struct Environment {
  explicit Environment(const std::map<std::string, std::string>& set) {
    for (const char* name : {"RANK",
                             "WORLD_SIZE",
                             "LOCAL_RANK",
                             "LOCAL_WORLD_SIZE",
                             "OMPI_COMM_WORLD_RANK",
                             "OMPI_COMM_WORLD_SIZE",
                             "OMPI_COMM_WORLD_LOCAL_RANK",
                             "OMPI_COMM_WORLD_LOCAL_SIZE",
                             "OMPI_MCA_ess_base_jobid",
                             "PMI_RANK",
                             "PMI_SIZE",
                             "MPI_LOCALRANKID",
                             "MPI_LOCALNRANKS",
                             "SLURM_PROCID",
                             "SLURM_STEP_NUM_TASKS",
                             "SLURM_LOCALID",
                             "SLURM_STEP_TASKS_PER_NODE",
                             "SLURM_JOB_ID",
                             "SLURM_STEP_ID",
                             "MASTER_ADDR",
                             "MASTER_PORT",
                             kStoreVariable,
                             "TORCHELASTIC_USE_AGENT_STORE"}) {
      if (const char* value = std::getenv(name)) before_[name] = value;
      unsetenv(name);
    }
    for (const auto& [name, value] : set) setenv(name.c_str(), value.c_str(), 1);
    names_ = set;
  }
  ~Environment() {
    for (const auto& [name, value] : names_) unsetenv(name.c_str());
    for (const auto& [name, value] : before_) setenv(name.c_str(), value.c_str(), 1);
  }
  std::map<std::string, std::string> before_, names_;
};

BOOST_AUTO_TEST_SUITE(rendezvous)

BOOST_AUTO_TEST_CASE(nothing_without_a_launcher) {
  const Environment none({});
  BOOST_TEST(!rank_environment().has_value());
}

BOOST_AUTO_TEST_CASE(torchrun) {
  const Environment set({{"RANK", "5"},
                         {"WORLD_SIZE", "8"},
                         {"LOCAL_RANK", "1"},
                         {"LOCAL_WORLD_SIZE", "4"},
                         {"MASTER_ADDR", "node0"},
                         {"MASTER_PORT", "29500"},
                         {"TORCHELASTIC_USE_AGENT_STORE", "True"}});
  const auto environment = rank_environment();
  BOOST_REQUIRE(environment.has_value());
  BOOST_TEST(environment->rank == 5);
  BOOST_TEST(environment->world_size == 8);
  BOOST_TEST(environment->local_rank == 1);
  BOOST_TEST(!environment->one_machine());
  BOOST_TEST(environment->master_addr == "node0");
  BOOST_TEST(environment->master_port == 29500);
  BOOST_TEST(environment->hosted);
}

BOOST_AUTO_TEST_CASE(open_mpi_on_one_machine_needs_no_address) {
  const Environment set({{"OMPI_COMM_WORLD_RANK", "1"},
                         {"OMPI_COMM_WORLD_SIZE", "2"},
                         {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                         {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
                         {"OMPI_MCA_ess_base_jobid", "1234567"}});
  const auto environment = rank_environment();
  BOOST_REQUIRE(environment.has_value());
  BOOST_TEST(environment->rank == 1);
  BOOST_TEST(environment->one_machine());
  BOOST_TEST(environment->master_port >= 20000);
  BOOST_TEST(!environment->hosted);
}

BOOST_AUTO_TEST_CASE(slurm_counts_the_tasks_of_a_node) {
  const Environment set({{"SLURM_PROCID", "3"},
                         {"SLURM_STEP_NUM_TASKS", "8"},
                         {"SLURM_LOCALID", "3"},
                         {"SLURM_STEP_TASKS_PER_NODE", "4(x2)"},
                         {"SLURM_JOB_ID", "77"},
                         {"MASTER_ADDR", "node0"}});
  const auto environment = rank_environment();
  BOOST_REQUIRE(environment.has_value());
  BOOST_TEST(environment->local_world_size == 4);
  BOOST_TEST(!environment->one_machine());
}

BOOST_AUTO_TEST_CASE(steps_of_one_slurm_job_do_not_meet) {
  const auto port = [](const std::string& step) {
    const Environment set({{"SLURM_PROCID", "0"},
                           {"SLURM_STEP_NUM_TASKS", "2"},
                           {"SLURM_LOCALID", "0"},
                           {"SLURM_STEP_TASKS_PER_NODE", "2"},
                           {"SLURM_JOB_ID", "77"},
                           {"SLURM_STEP_ID", step}});
    return rank_environment()->master_port;
  };
  BOOST_TEST(port("0") == port("0"));
  BOOST_TEST(port("0") != port("1"));
}

BOOST_AUTO_TEST_CASE(one_task_of_slurm_is_no_launch) {
  const Environment set({{"SLURM_PROCID", "0"}, {"SLURM_STEP_NUM_TASKS", "1"}, {"SLURM_JOB_ID", "77"}});
  BOOST_TEST(!rank_environment().has_value());
}

BOOST_AUTO_TEST_CASE(what_makes_no_sense_is_refused) {
  const auto refuse = [](std::map<std::string, std::string> set, const std::vector<std::string>& words) {
    set.emplace("MASTER_PORT", "29500");
    const Environment environment(set);
    expect_error<Error>(words, [] { rank_environment(); });
  };
  refuse({{"RANK", "2"}, {"WORLD_SIZE", "2"}}, {"RANK=2", "WORLD_SIZE=2"});
  refuse({{"RANK", "one"}, {"WORLD_SIZE", "2"}}, {"RANK=one", "whole number"});
  refuse({{"RANK", "0"}, {"WORLD_SIZE", "4"}, {"LOCAL_WORLD_SIZE", "2"}}, {"MASTER_ADDR"});
  refuse({{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_PORT", "70000"}}, {"MASTER_PORT=70000"});
}

BOOST_AUTO_TEST_CASE(ranks_of_our_launcher_inherit_their_connections) {
  std::map<std::string, std::string> set{{"RANK", "1"}, {"WORLD_SIZE", "2"}, {kStoreVariable, "5,7"}};
  {
    const Environment environment(set);
    const auto rank = rank_environment();
    BOOST_TEST(rank->store_descriptor == 5);
    BOOST_TEST(rank->monitor_descriptor == 7);
    BOOST_TEST(rank->hosted);
    BOOST_TEST(rank->one_machine());
  }
  set[kStoreVariable] = "5";
  const Environment environment(set);
  expect_error<Error>({kStoreVariable, "two descriptors"}, [] { rank_environment(); });
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
