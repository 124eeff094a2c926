// SPDX-License-Identifier: Apache-2.0
#include "base/measure/work_meter.h"

#include <ATen/core/function_schema.h>
#include <ATen/record_function.h>

#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/errors.h"

namespace dualparal {
namespace {

enum class Kind { kMatmul, kAttention, kConvolution, kOwn, kCopy, kFree, kOther };

// An operation under way. Operations call others: of nested ones, only the outermost that is counted as a whole, or the
// innermost, is work.
struct Frame {
  Kind kind = Kind::kOther;
  bool within_counted = false;
  bool calls_others = false;
  double input = 0;  // what the inputs tell, which are there at the beginning only: FLOPs, bytes, or a filter's numbers
};

struct Meter {
  bool active = false;
  Work work;
  std::vector<Frame> stack;
  std::unordered_map<const void*, Kind> kinds;  // by the operation's name, which stays where it is
};

thread_local Meter meter;

bool is_view(const at::RecordFunction& fn) {
  const auto schema = fn.operator_schema();
  if (!schema || schema->returns().empty()) return false;
  const auto* alias = schema->returns()[0].alias_info();
  return alias && !alias->isWrite();
}

Kind kind_of(const at::RecordFunction& fn) {
  const std::string_view name = fn.name();
  for (const char* product :
       {"aten::linear", "aten::mm", "aten::addmm", "aten::_addmm_activation", "aten::bmm", "aten::baddbmm"})
    if (name == product) return Kind::kMatmul;
  if (name.starts_with("aten::_scaled_dot_product_") && name.find("math") == std::string_view::npos)
    return Kind::kAttention;
  if (name == "aten::convolution") return Kind::kConvolution;
  if (name.starts_with("dualparal::")) return Kind::kOwn;  // one kernel, whatever it calls to prepare it
  if (name == "aten::copy_") return Kind::kCopy;
  if (name == "record_param_comms") return Kind::kFree;  // c10d's note of a message
  if (name.starts_with("aten::empty") || name.starts_with("aten::new_empty") || name == "aten::resize_" ||
      name == "aten::set_" || name == "aten::_fused_sdp_choice" || is_view(fn))
    return Kind::kFree;
  return Kind::kOther;
}

// Bytes behind a tensor; what is expanded is there once.
double bytes_of(const at::Tensor& tensor) {
  if (!tensor.defined()) return 0;
  double bytes = static_cast<double>(tensor.element_size());
  for (int64_t d = 0; d < tensor.dim(); ++d)
    if (tensor.stride(d) != 0 || tensor.size(d) == 0) bytes *= static_cast<double>(tensor.size(d));
  return bytes;
}

double bytes_of(const c10::IValue& value) {
  if (value.isTensor()) return bytes_of(value.toTensor());
  double bytes = 0;
  if (value.isTensorList())
    for (const at::Tensor& tensor : value.toTensorVector()) bytes += bytes_of(tensor);
  return bytes;
}

// The first `count` tensors among the inputs.
std::vector<at::Tensor> tensors_of(const at::RecordFunction& fn, size_t count) {
  std::vector<at::Tensor> out;
  for (const auto& value : fn.inputs())
    if (value.isTensor() && value.toTensor().defined() && out.size() < count) out.push_back(value.toTensor());
  return out;
}

double product_flops(const at::RecordFunction& fn) {
  const std::string_view name = fn.name();
  const bool adds = name == "aten::addmm" || name == "aten::_addmm_activation" || name == "aten::baddbmm";
  const size_t first = adds ? 1 : 0;  // behind what is added
  const auto tensors = tensors_of(fn, first + 2);
  if (tensors.size() < first + 2) return 0;
  const at::Tensor& a = tensors[first];
  const at::Tensor& b = tensors[first + 1];
  const int64_t columns = name == "aten::linear" ? b.size(0) : b.size(-1);
  return 2.0 * static_cast<double>(a.numel()) * static_cast<double>(columns);
}

// query [batch, heads, queries, head_dim], key [batch, heads, keys, head_dim]
double attention_flops(const at::RecordFunction& fn) {
  const auto tensors = tensors_of(fn, 2);
  if (tensors.size() < 2) return 0;
  return 4.0 * static_cast<double>(tensors[0].numel()) * static_cast<double>(tensors[1].size(2));
}

// Every number of a convolution's output is a dot product with one filter of so many numbers.
double filter_size(const at::RecordFunction& fn) {
  const auto tensors = tensors_of(fn, 2);
  return tensors.size() < 2 ? 0 : static_cast<double>(tensors[1].numel() / tensors[1].size(0));
}

double input_bytes(const at::RecordFunction& fn) {
  double bytes = 0;
  const auto schema = fn.operator_schema();
  size_t place = 0;
  for (const auto& value : fn.inputs()) {
    const bool only_written = schema && place < schema->arguments().size() && schema->arguments()[place].is_out();
    if (!only_written) bytes += bytes_of(value);
    ++place;
  }
  return bytes;
}

double input_of(const at::RecordFunction& fn, Kind kind) {
  switch (kind) {
    case Kind::kMatmul:
      return product_flops(fn);
    case Kind::kAttention:
      return attention_flops(fn);
    case Kind::kConvolution:
      return filter_size(fn);
    case Kind::kOwn:
    case Kind::kCopy:
    case Kind::kOther:
      return input_bytes(fn);
    case Kind::kFree:
      break;
  }
  return 0;
}

std::unique_ptr<at::ObserverContext> begin(const at::RecordFunction& fn) {
  auto [place, is_new] = meter.kinds.try_emplace(fn.name(), Kind::kOther);
  if (is_new) place->second = kind_of(fn);
  Frame frame{.kind = place->second};
  if (!meter.stack.empty()) {
    Frame& caller = meter.stack.back();
    frame.within_counted = caller.within_counted || caller.kind == Kind::kMatmul || caller.kind == Kind::kAttention ||
                           caller.kind == Kind::kConvolution || caller.kind == Kind::kOwn;
    if (frame.kind != Kind::kFree) caller.calls_others = true;
  }
  if (!frame.within_counted) frame.input = input_of(fn, frame.kind);
  meter.stack.push_back(frame);
  return nullptr;
}

void end(const at::RecordFunction& fn, at::ObserverContext*) {
  if (meter.stack.empty()) return;  // begun before the meter was
  const Frame frame = meter.stack.back();
  meter.stack.pop_back();
  if (frame.within_counted || frame.kind == Kind::kFree) return;
  Work& work = meter.work;
  switch (frame.kind) {
    case Kind::kMatmul:
      work.matmul_flops += frame.input;
      break;
    case Kind::kAttention:
      work.attention_flops += frame.input;
      break;
    case Kind::kConvolution:
      if (!fn.outputs().empty() && fn.outputs()[0].isTensor())
        work.convolution_flops += 2 * frame.input * static_cast<double>(fn.outputs()[0].toTensor().numel());
      break;
    case Kind::kCopy:
      work.moved_bytes += frame.input;
      break;  // source read, target written: both are inputs
    default:
      if (frame.calls_others && frame.kind != Kind::kOwn) return;
      work.moved_bytes += frame.input;
      for (const auto& value : fn.outputs()) work.moved_bytes += bytes_of(value);
  }
  ++work.operations;
}

}  // namespace

Work& Work::operator+=(const Work& other) {
  matmul_flops += other.matmul_flops;
  attention_flops += other.attention_flops;
  convolution_flops += other.convolution_flops;
  moved_bytes += other.moved_bytes;
  operations += other.operations;
  return *this;
}

Work operator-(Work a, const Work& b) {
  a.matmul_flops -= b.matmul_flops;
  a.attention_flops -= b.attention_flops;
  a.convolution_flops -= b.convolution_flops;
  a.moved_bytes -= b.moved_bytes;
  a.operations -= b.operations;
  return a;
}

WorkMeter::WorkMeter() {
  check(!meter.active, "this thread has a work meter already");
  meter.active = true;
  meter.work = {};
  meter.stack.clear();
  handle_ = at::addThreadLocalCallback(at::RecordFunctionCallback(&begin, &end)
                                           .needsInputs(true)
                                           .needsOutputs(true)
                                           .scopes({at::RecordScope::FUNCTION}));
}

WorkMeter::~WorkMeter() {
  at::removeCallback(handle_);
  meter.active = false;
}

Work WorkMeter::now() { return meter.active ? meter.work : Work{}; }

void WorkMeter::note_kernel(int64_t moved_bytes) {
  if (!meter.active) return;
  meter.work.moved_bytes += static_cast<double>(moved_bytes);
  ++meter.work.operations;
}

}  // namespace dualparal
