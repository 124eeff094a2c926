// SPDX-License-Identifier: Apache-2.0
#include "dualparal/host_copies.h"

#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <utility>

#include "base/errors.h"

namespace dualparal {

HostCopies::HostCopies(Recorder& recorder, const at::Device& device, Moment moment)
    : recorder_(recorder), device_(device), moment_(moment) {
  if (device.is_cpu() || device.is_meta()) return;
  // Of the pool that NCCL's connections do not take theirs from: a stream shared with one would wait for messages.
  stream_ = c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device, /*isHighPriority=*/false);
}

HostCopies::~HostCopies() {
  try {
    finish();
  } catch (const std::exception&) {  // a fault of the device: whoever uses it next is told
  }
}

void HostCopies::begin(Event::Kind kind, const std::vector<Copy>& copies) {
  int64_t bytes = 0;
  for (const Copy& copy : copies) {
    check(copy.to.sizes() == copy.from.sizes(), "a copy from {} to {}: expected the same shape",
          fmt::join(copy.from.sizes(), " x "), fmt::join(copy.to.sizes(), " x "));
    bytes += static_cast<int64_t>(copy.from.nbytes());
  }
  const auto span = recorder_.host_copy(kind, bytes);
  open_ = true;
  if (stream_) {
    const c10::impl::VirtualGuardImpl device(device_.type());
    c10::Event given(device_.type());
    given.record(device.getStream(device_));
    given.block(*stream_);
    const c10::StreamGuard guard(*stream_);
    make(copies);
    newest_.emplace(device_.type());
    newest_->record(*stream_);
  } else if (moment_ == Moment::kBegin) {
    make(copies);
  } else {
    late_.push_back(copies);
  }
}

// Parts of a batch one by one: a copy of what is not contiguous would go through a tensor of its own.
void HostCopies::make(const std::vector<Copy>& copies) const {
  for (const Copy& copy : copies)
    for (int64_t i = 0; i < copy.to.size(0); ++i) copy.to.select(0, i).copy_(copy.from.select(0, i), true);
}

void HostCopies::make_late() {
  for (const auto& copies : std::exchange(late_, {})) make(copies);
}

void HostCopies::wait() {
  if (!open_) return;
  open_ = false;
  const auto span = recorder_.host_copy(Event::Kind::kHostWait);
  if (newest_) newest_->block(c10::impl::VirtualGuardImpl(device_.type()).getStream(device_));
  make_late();
}

void HostCopies::finish() {
  if (newest_) newest_->synchronize();
  make_late();
}

}  // namespace dualparal
