// SPDX-License-Identifier: Apache-2.0
#include "harness/snapshots/run_snapshots.h"

#include <cstdio>
#include <thread>

#include "base/errors.h"
#include "comm/with_peer.h"
#include "harness/snapshots/stop_signals.h"

namespace dualparal {
namespace {

constexpr const char* kStopKey = "snapshot/stop";
constexpr const char* kEndKey = "snapshot/end";
constexpr int64_t kKeptDecisions = 1024;

std::string decision_key(int64_t done) { return fmt::format("snapshot/after {}", done); }

std::vector<uint8_t> bytes(const std::string& text) { return {text.begin(), text.end()}; }

// What rank 0 says.
std::string read_key(c10d::Store& store, const std::string& key, std::chrono::seconds timeout) {
  std::vector<uint8_t> value;
  with_peer(0, "waiting for", [&] {
    store.wait({key}, timeout);
    value = store.get(key);
  });
  return {value.begin(), value.end()};
}

void say(const std::string& text) { std::fputs(fmt::format("# {}\n", text).c_str(), stderr); }

}  // namespace

// Hands latents on, and keeps them.
class RunSnapshots::KeepingSink final : public LatentsSink {
 public:
  KeepingSink(RunSnapshots& run, LatentsSink& inner) : run_(run), inner_(inner) {}
  void push(const at::Tensor& latents) override {
    inner_.push(latents);  // first: it refuses latents that are not finite
    run_.writer_.add([file = run_.folder_.finished_file(run_.finished_++), latents] {
      write_snapshot_file(file, {.tensors = {{"latents", latents}}}, nlohmann::ordered_json::object());
    });
  }

 private:
  RunSnapshots& run_;
  LatentsSink& inner_;
};

RunSnapshots::RunSnapshots(RunSnapshotsOptions options, Communicator& comm, c10::intrusive_ptr<c10d::Store> store)
    : options_(std::move(options)),
      folder_(options_.folder),
      rank_(comm.rank()),
      world_size_(comm.world_size()),
      store_(std::move(store)) {
  if (!keeps()) return;
  if (rank_ == 0) open_folder();
  // The others go on from what rank 0 has found to be whole.
  const std::string done = comm.gather(resumed_ ? std::to_string(resumed_->run.done) : "").at(0);
  if (rank_ > 0 && !done.empty()) resumed_ = folder_.read(std::stoll(done), /*verify=*/false);
}

void RunSnapshots::open_folder() {
  folder_.hold();
  if (options_.resume) resumed_ = folder_.newest(say);
  check(resumed_ || !options_.must_resume, "--resume {}: there is no snapshot in it", options_.folder.string());
  check(options_.resume || !folder_.holds_snapshots(),
        "--snapshot {}: there are snapshots of an earlier run in it; --resume goes on from them, or give another "
        "folder",
        options_.folder.string());
  folder_.forget_after(resumed_);
}

std::unique_ptr<LatentsSink> RunSnapshots::keeping(LatentsSink& sink) {
  if (resumed_)
    for (const auto& file : resumed_->finished) {
      sink.push(read_snapshot_file(file, /*verify=*/false).state.tensor("latents"));
      ++finished_;
    }
  return std::make_unique<KeepingSink>(*this, sink);
}

// A signal may have come to any rank.
bool RunSnapshots::wished() {
  if (stop_wished() && rank_ > 0) store_->set(kStopKey, bytes("1"));
  return stop_wished() || (rank_ == 0 && store_ && store_->check({kStopKey}));
}

SnapshotDecision RunSnapshots::decide(int64_t done) {
  SnapshotDecision decision = SnapshotDecision::kNone;
  if (!begun_) since_last_ = Stopwatch();  // weights have been loaded in between
  begun_ = true;
  tell_failure();
  stopping_ = wished() || stopping_;
  if (rank_ > 0) {
    const std::string text = read_key(*store_, decision_key(done), options_.timeout);
    return static_cast<SnapshotDecision>(std::stoi(text));
  }
  if (stopping_) {
    decision = SnapshotDecision::kKeepAndStop;
  } else if (keeps() && !failed_ && since_last_.seconds() >= options_.every_s &&
             (options_.every_s == 0 || !writer_.busy())) {
    decision = SnapshotDecision::kKeep;
    since_last_ = Stopwatch();
  }
  if (store_) store_->set(decision_key(done), bytes(std::to_string(static_cast<int>(decision))));
  // Ranks wait for each other's messages: none is so far behind.
  if (store_ && done > kKeptDecisions) store_->deleteKey(decision_key(done - kKeptDecisions));
  return decision;
}

// A snapshot that cannot be written does not end hours of work: it is told, once.
void RunSnapshots::tell_failure() {
  if (failed_ || writer_.busy()) return;
  try {
    writer_.finish();
  } catch (const std::exception& error) {
    failed_ = true;
    say(fmt::format("no snapshots are kept any more: {}", first_line(error.what())));
  }
}

nlohmann::ordered_json RunSnapshots::about(int64_t done, int64_t keepers) const {
  nlohmann::ordered_json about{{"done", done}, {"rank", rank_}, {"world_size", world_size_}, {"keepers", keepers}};
  if (rank_ > 0) return about;
  about["finished"] = finished_;
  about["run"] = options_.run;
  return about;
}

void RunSnapshots::save(int64_t done, int64_t keepers, RunState state) {
  if (!keeps()) return;
  writer_.add(
      [this, file = folder_.rank_file(done, rank_), done, state = std::move(state), text = about(done, keepers)] {
        write_snapshot_file(file, state, text);
        // Whoever is the last to write it finds it complete.
        if (folder_.complete(done)) folder_.keep_newest();
      });
}

void RunSnapshots::ended() {
  if (!store_) return;
  if (rank_ == 0) return store_->set(kEndKey, bytes("-1"));
  while (!store_->check({kEndKey})) std::this_thread::sleep_for(std::chrono::milliseconds(200));
  const int64_t stopped = std::stoll(read_key(*store_, kEndKey, options_.timeout));
  if (stopped >= 0) throw RunStopped(stopped);
}

void RunSnapshots::stop(int64_t done) {
  if (rank_ == 0 && store_) store_->set(kEndKey, bytes(std::to_string(done)));
  check(!failed_, "told to stop, but the state after {} iterations could not be kept", done);
  writer_.finish();
}

void RunSnapshots::remove_all() {
  if (rank_ > 0) return;
  try {
    writer_.finish();
  } catch (const std::exception&) {
    // The video is there: nobody needs it any more.
  }
  folder_.forget_after(std::nullopt);
  std::error_code not_empty;
  std::filesystem::remove(folder_.path(), not_empty);
}

}  // namespace dualparal
