// SPDX-License-Identifier: Apache-2.0
#include "harness/run/launcher.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <map>

#include "base/errors.h"
#include "comm/fault_monitor.h"
#include "comm/local_store.h"
#include "comm/rendezvous.h"
#include "harness/snapshots/stop_signals.h"
#include "strategy/snapshot/snapshots.h"

namespace dualparal {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr auto kGrace = 6s;  // for the other ranks to end by themselves
volatile std::sig_atomic_t caught_signal = 0;

struct Child {
  int64_t rank = 0;
  pid_t pid = 0;
  int errors = -1;  // read end of its standard error
  bool running = true;
  bool killed = false;  // by this process
  std::string line;     // begun, not yet ended
  std::string error;    // its "error:" line
};

// A rank's ends of two connections to the store, while it is started.
struct StoreEnds {
  explicit StoreEnds(LocalStoreServer& server) : rank(server.connect()), monitor(server.connect()) {}
  ~StoreEnds() {
    close(rank);
    close(monitor);
  }
  StoreEnds(const StoreEnds&) = delete;
  StoreEnds& operator=(const StoreEnds&) = delete;
  int rank, monitor;
};

// The environment of a rank; made before fork(), after which little is allowed.
std::vector<std::string> rank_variables(int64_t rank, int64_t nproc, const StoreEnds& store) {
  std::map<std::string, std::string> variables;
  for (char** entry = environ; *entry; ++entry) {
    const std::string text = *entry;
    const size_t equals = text.find('=');
    if (equals != std::string::npos) variables[text.substr(0, equals)] = text.substr(equals + 1);
  }
  variables.emplace("TORCH_CPP_LOG_LEVEL", "ERROR");
  variables["RANK"] = variables["LOCAL_RANK"] = std::to_string(rank);
  variables["WORLD_SIZE"] = variables["LOCAL_WORLD_SIZE"] = std::to_string(nproc);
  variables[kStoreVariable] = fmt::format("{},{}", store.rank, store.monitor);
  std::vector<std::string> out;
  for (const auto& [name, value] : variables) out.push_back(name + "=" + value);
  return out;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (auto& text : texts) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

Child start(std::vector<std::string> arguments, int64_t rank, int64_t nproc, LocalStoreServer& server) {
  int ends[2];
  const int no_pipe = pipe2(ends, O_CLOEXEC) == 0 ? 0 : errno;
  check(no_pipe == 0, "cannot start rank {}: {}", rank, std::strerror(no_pipe));
  const StoreEnds store(server);
  auto variables = rank_variables(rank, nproc, store);
  arguments.insert(arguments.begin(), "/proc/self/exe");
  const auto argv = pointers(arguments), envp = pointers(variables);
  const pid_t parent = getpid();
  const pid_t child = fork();
  const int not_forked = errno;
  check(child >= 0, "cannot start rank {}: {}", rank, std::strerror(not_forked));
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    dup2(ends[1], STDERR_FILENO);
    for (const int end : {store.rank, store.monitor}) fcntl(end, F_SETFD, 0);  // inherited
    execve(argv[0], argv.data(), envp.data());
    dprintf(STDERR_FILENO, "error: rank %d cannot be started: %s\n", static_cast<int>(rank), strerrordesc_np(errno));
    _exit(127);
  }
  close(ends[1]);
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  return {.rank = rank, .pid = child, .errors = ends[0], .line = {}, .error = {}};
}

// Passes on what a rank says, whole lines at a time, but for its error: that is told once, at the end.
void pass_on(Child& child) {
  char buffer[4096];
  ssize_t count = 0;
  while ((count = read(child.errors, buffer, sizeof buffer)) > 0)
    for (ssize_t i = 0; i < count; ++i) {
      child.line += buffer[i];
      if (buffer[i] != '\n' && buffer[i] != '\r') continue;
      if (child.line.starts_with("error: "))
        child.error = child.line.substr(7, child.line.size() - 8);
      else
        std::fputs(((child.rank == 0 ? "" : fmt::format("[rank {}] ", child.rank)) + child.line).c_str(), stderr);
      child.line.clear();
    }
}

class Supervisor {
 public:
  Supervisor(const std::vector<std::string>& arguments, int64_t nproc, StopBy stop_by) : stop_by_(stop_by) {
    for (int64_t rank = 0; rank < nproc; ++rank) children_.push_back(start(arguments, rank, nproc, server_));
  }
  ~Supervisor() {
    for (Child& child : children_) {
      if (child.running) kill(child.pid, SIGKILL);
      if (child.running) waitpid(child.pid, nullptr, 0);
      close(child.errors);
    }
  }

  void run() {
    while (running() > 0) {
      std::vector<pollfd> polls;
      for (const Child& child : children_)
        if (child.running) polls.push_back({child.errors, POLLIN, 0});
      poll(polls.data(), polls.size(), 100);
      for (Child& child : children_) {
        pass_on(child);
        reap(child);
      }
      if (is_wish(caught_signal) && !(caught_signal == SIGINT && asked_) && !stopping_) ask_to_stop();
      if (caught_signal && !stopping_)
        stop(fmt::format("told to stop ({})", strsignal(caught_signal)), kEnds.at(static_cast<size_t>(stop_by_)));
      if (stopping_ && Clock::now() > deadline_)
        for (Child& child : children_)
          if (child.running) {
            child.killed = true;
            kill(child.pid, SIGKILL);
          }
    }
    if (usage_ && !cause_.empty()) throw UsageError(cause_);
    if (!cause_.empty()) throw Error(cause_);
    if (stopped_) throw RunStopped(-1);
  }

 private:
  // By which ranks end at once: not one that they take for a wish.
  static constexpr std::array kEnds = {SIGTERM, SIGINT, SIGHUP};

  bool is_wish(int signal) const {
    return (stop_by_ != StopBy::kNothing && (signal == SIGTERM || signal == SIGUSR1)) ||
           (stop_by_ == StopBy::kInterrupt && signal == SIGINT);
  }

  int64_t running() const {
    int64_t count = 0;
    for (const Child& child : children_) count += child.running;
    return count;
  }

  void reap(Child& child) {
    int status = 0;
    if (!child.running || waitpid(child.pid, &status, WNOHANG) != child.pid) return;
    child.running = false;
    pass_on(child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
    // One that had not come as far as to catch the signal has nothing to keep, and neither have the others.
    const bool early = (asked_ || is_wish(caught_signal)) && WIFSIGNALED(status) && WTERMSIG(status) != SIGTERM &&
                       is_wish(WTERMSIG(status));
    stopped_ = stopped_ || early || (WIFEXITED(status) && WEXITSTATUS(status) == kStoppedExitCode);
    if (early && !stopping_) stop("", SIGKILL);
    if (early || (WIFEXITED(status) && WEXITSTATUS(status) == kStoppedExitCode)) return;
    // Others may have noticed a killed rank before this process has: then it knows better than they do why.
    const bool first_hand = WIFSIGNALED(status) && !child.killed && cause_.starts_with(lost_rank(child.rank));
    if (stopping_ && WIFSIGNALED(status) && !first_hand) return;
    std::string failure = child.error;
    if (WIFSIGNALED(status)) {
      const auto last = read_heartbeat(*store_, child.rank);
      failure = fmt::format("rank {} was killed by signal {} ({}){}", child.rank, WTERMSIG(status),
                            strsignal(WTERMSIG(status)), WTERMSIG(status) == SIGKILL ? ", out of memory?" : "");
      if (children_.size() > 1)  // one alone tells nobody what it is doing
        failure += fmt::format("; the last that is known of it: {}", last ? last->activity : "it had not joined yet");
    } else if (failure.empty()) {
      failure = fmt::format("rank {} ended with exit code {} and said nothing", child.rank, WEXITSTATUS(status));
    }
    usage_ = usage_ || (WIFEXITED(status) && WEXITSTATUS(status) == 2);
    if (first_hand) cause_ = failure;
    if (!stopping_) {
      const std::string first = report_failure(*store_, failure);
      stop(WIFSIGNALED(status) && first.starts_with(lost_rank(child.rank)) ? failure : first, 0);
    }
  }

  void ask_to_stop() {
    caught_signal = 0;
    asked_ = true;
    for (Child& child : children_)
      if (child.running) kill(child.pid, SIGUSR1);
  }

  // The ranks read the failure in the store and end; who does not is killed when the grace is over.
  void stop(const std::string& cause, int signal) {
    cause_ = cause;
    stopping_ = true;
    deadline_ = Clock::now() + kGrace;
    if (signal == 0) return;
    for (Child& child : children_)
      if (child.running) kill(child.pid, signal);
  }

  LocalStoreServer server_;
  c10::intrusive_ptr<c10d::Store> store_ = local_store(server_.connect());
  std::vector<Child> children_;
  std::string cause_;
  StopBy stop_by_;
  bool stopping_ = false, usage_ = false;
  bool asked_ = false, stopped_ = false;  // to keep the run's state
  Clock::time_point deadline_;
};

}  // namespace

void launch_ranks(const std::vector<std::string>& arguments, int64_t nproc, StopBy stop_by) {
  struct sigaction action {};
  action.sa_handler = [](int signal) { caught_signal = signal; };
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction before {};
    sigaction(signal, nullptr, &before);
    if (before.sa_handler != SIG_IGN) sigaction(signal, &action, nullptr);  // a sweep's points leave Ctrl-C to it
  }
  if (stop_by != StopBy::kNothing) sigaction(SIGUSR1, &action, nullptr);
  Supervisor(arguments, nproc, stop_by).run();
}

bool launcher_interrupted() { return caught_signal != 0; }

}  // namespace dualparal
