// SPDX-License-Identifier: Apache-2.0
// What a rank did and when: computing, sending, waiting. Timelines, idle time and error messages come from it.
#pragma once

#include <ATen/ATen.h>

#include <exception>
#include <functional>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/layer_part.h"
#include "base/measure/nvtx.h"
#include "base/measure/work_meter.h"
#include "comm/communicator.h"
#include "comm/stream_clock.h"

namespace dualparal {

/// The piece of work that something belongs to.
struct WorkLabel {
  int64_t block = 0;                         ///< of frames, or what a strategy has instead: a clip, a window
  int64_t step = 0;                          ///< of the schedule, or an iteration of a queue
  int64_t first_layer = 0, last_layer = -1;  ///< inclusive; last < first: no layers
  int64_t micro_batch = 0;
  /// Inclusive. Set where block and step are no blocks and steps of the video: messages then name these.
  struct Span {
    int64_t first = 0, last = -1;
    bool known() const { return last >= first; }
    std::string text() const;  ///< "3", "3..10"
  };
  Span frames = {}, steps = {};  ///< latent frames; steps of the schedule
  /// LayerPart, of the first and of the last layer: where the work begins and ends within them.
  int64_t first_part = 0, last_part = kLayerParts - 1;

  bool whole_layers() const { return first_part == 0 && last_part == kLayerParts - 1; }
  /// "block 3, step 5, layers 4..7"; "frames 3..10, steps 24..31, layers 4..7"; "block 3, step 5, layers 4..7 (from
  /// feed-forward of 4 to self-attention of 7)"
  std::string text() const;
};

struct Event {
  /// kWait: until the oldest send to a peer that was not yet waited for is done. kOutput: latents became final.
  /// kVideo: a video of a list begins. kToHost, kFromHost: a copy from the device to its host's memory, or back, is
  /// begun; copies of a rank are made one after the other, beside all else. kHostWait: until all copies that were begun
  /// are done. kExchange: messages to each of `peer` others and from each of them, `bytes` in all one way, which
  /// nothing else is done beside; never recorded, made of the messages' events (harness/shorten/stage_as_one.h).
  enum class Kind { kCompute, kSend, kReceive, kWait, kOutput, kVideo, kToHost, kFromHost, kHostWait, kExchange };
  Kind kind = Kind::kCompute;
  WorkLabel label = {};
  int64_t peer = -1;  ///< of a send or a receive
  Channel channel = Channel::kForward;
  int64_t bytes = 0;       ///< of a message, of a copy, or of the final latents
  Work work = {};          ///< of a computation, under a WorkMeter
  int64_t live_bytes = 0;  ///< allocated on the device at its end, if the recorder was told to note it
  double begin_s = 0;      ///< steady clock of the machine; a send begins when it is posted
  double end_s = 0;        ///< a receive ends when the tensor is here: it lasts as long as it was waited for

  std::string text() const;  ///< "computing block 3, step 5, layers 4..7", "waiting for rank 2: block 3, step 5"
};

class Recorder {
 public:
  explicit Recorder(at::Device device) : device_(device), clock_(device) {}

  /// Whether events carry the memory that is allocated at their end.
  void note_memory(bool on) { notes_memory_ = on; }

  /// The ranks that its user names are counted from this one of all ranks on: those of a part of them.
  void count_ranks_from(int64_t first) { first_rank_ = first; }

  /// A span from its making to its end, on the device's clock: places in its stream are marked, and read by events(),
  /// so the host goes on giving it work. A message within a computation interrupts it: that is noted as two
  /// computations. What the device has to say of a fault when a span ends is thrown by the next one, or by events(). A
  /// profiler sees it as an NVTX range with the event's text, in which the ranges of messages lie.
  class Span {
   public:
    Span(Recorder& recorder, Event event);
    ~Span();
    Span(const Span&) = delete;
    Span& operator=(const Span&) = delete;

   private:
    friend class Recorder;
    void open();
    void close();

    Recorder& recorder_;
    Event event_;
    int64_t begin_mark_ = 0;
    int unwinding_;
    Span* outer_;  // the computation that this interrupts
    NvtxRange range_;
  };

  Span compute(const WorkLabel& label) { return {*this, {.kind = Event::Kind::kCompute, .label = label}}; }
  Span send(const WorkLabel& label, int64_t peer, Channel channel, int64_t bytes) {
    return message(Event::Kind::kSend, label, peer, channel, bytes);
  }
  Span receive(const WorkLabel& label, int64_t peer, Channel channel, int64_t bytes) {
    return message(Event::Kind::kReceive, label, peer, channel, bytes);
  }
  Span wait(const WorkLabel& label, int64_t peer, Channel channel) {
    return message(Event::Kind::kWait, label, peer, channel, 0);
  }
  /// kToHost, kFromHost or kHostWait, for the computation that it interrupts.
  Span host_copy(Event::Kind kind, int64_t bytes = 0);
  /// Latents that are final from now on.
  void output(int64_t bytes);
  /// The next video of a list begins: its first window enters.
  void begin_video();
  /// Sets what activity() says until a span opens.
  void set_phase(const std::string& phase);

  /// All so far. Waits for the device.
  const std::vector<Event>& events();
  /// Forgets them. Waits for the device. From then on they are kept.
  void clear();

  /// From now on events are not kept: they go to `take`, in their order, some time after the device has got past them.
  /// Their times are the device's own.
  void hand_to(std::function<void(const Event&)> take);
  /// Hands over what is left. Waits for the device. What makes event_clock()'s times of all that was handed over.
  ClockLine end_handing();
  /// What this rank is doing now, in words; from any thread. After an exception: what it was doing then.
  std::string activity() const;
  /// activity() for an error, with where the device was last known to be if that is not there: it comes to its work
  /// later than the host, and faults of it are told later still.
  std::string activity_of_device() const;
  /// The rank that this one is waiting for, or -1; from any thread.
  int64_t waiting_for() const;

 private:
  Span message(Event::Kind kind, const WorkLabel& label, int64_t peer, Channel channel, int64_t bytes) {
    return {*this, {.kind = kind, .label = label, .peer = first_rank_ + peer, .channel = channel, .bytes = bytes}};
  }
  void note_moment(Event event);
  void rethrow_fault();
  void follow_device();
  void hand_over();

  at::Device device_;
  StreamClock clock_;
  std::vector<Event> events_;
  std::vector<std::pair<int64_t, int64_t>> marks_;  // where each begins and ends
  size_t passed_ = 0;                               // events that the device has got past
  std::function<void(const Event&)> take_;          // empty: they are kept
  std::exception_ptr fault_;
  Span* computing_ = nullptr;
  bool notes_memory_ = false;
  int64_t first_rank_ = 0;
  mutable std::mutex mutex_;
  std::string phase_ = "starting";
  bool busy_ = false, was_busy_ = false;  // a span is open; there was one in this phase
  Event current_;
  Event at_device_;  // the first that the device has not got past
  bool behind_ = false;
};

}  // namespace dualparal
