// SPDX-License-Identifier: Apache-2.0
// How ranks exchange tensors. Every operation is asynchronous and returns a handle; shapes are agreed beforehand by
// both sides, so nothing but tensors travels.
#pragma once

#include <ATen/ATen.h>

#include <compare>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace dualparal {

/// Messages between two ranks keep their order within a channel, never across channels: the two directions of a
/// pipeline of two ranks must not wait for each other.
enum class Channel { kForward = 1, kReturn = 2 };

/// A one-way path between two ranks.
struct Link {
  int64_t from = 0, to = 0;
  Channel channel = Channel::kForward;
  auto operator<=>(const Link&) const = default;
};

/// A transfer under way. It keeps its tensors alive.
class Transfer {
 public:
  virtual ~Transfer() = default;
  /// Until the tensor may be used (received) or overwritten (sent). PeerError if the peer is gone or the time is up.
  virtual void wait() = 0;
};

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int64_t rank() const = 0;
  virtual int64_t world_size() const = 0;

  /// Announces every link that will be used, by any rank (Strategy::links): all ranks call this at the same point, with
  /// the same list in the same order, before the clock starts. A communicator that has to open connections opens them
  /// here; links that are open already stay so.
  virtual void connect(const std::vector<Link>& links) {}
  /// `tensor` must not change until the transfer has been waited for.
  virtual std::unique_ptr<Transfer> send(const at::Tensor& tensor, int64_t to, Channel channel) = 0;
  /// Fills `target`, which has the shape and dtype that the sender sends.
  virtual std::unique_ptr<Transfer> receive(const at::Tensor& target, int64_t from, Channel channel) = 0;
  /// Rank 0's `tensor` to every rank.
  virtual void broadcast(at::Tensor& tensor) = 0;
  virtual void barrier() = 0;
  /// Every rank's text, by rank, on every rank. For what is agreed on once, not for the steady state.
  virtual std::vector<std::string> gather(const std::string& text) = 0;
  /// The same of ranks that may rightly be busy for longer than a timeout: decoding, or with more work than others.
  virtual std::vector<std::string> gather_patiently(const std::string& text) { return gather(text); }
  /// Every rank's text, of any length, by rank, on rank 0; nothing on the others.
  virtual std::vector<std::string> gather_on_first(const std::string& text) {
    auto texts = gather(text);
    return rank() == 0 ? std::move(texts) : std::vector<std::string>{};
  }
};

/// The links of a pipeline: every rank to the next, and the last back to the first.
std::vector<Link> pipeline_links(int64_t world_size);
/// Every rank to the next one and to the one before, without closing the ring.
std::vector<Link> neighbour_links(int64_t world_size);
/// Every rank to every other.
std::vector<Link> all_links(int64_t world_size);

/// One rank alone: nothing can be sent.
std::unique_ptr<Communicator> lone_communicator();

}  // namespace dualparal
