// SPDX-License-Identifier: Apache-2.0
#include "model/checkpoint/safetensors.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>

#include "base/errors.h"
#include "base/files.h"
#include "base/parse_json.h"

namespace dualparal {
namespace {

constexpr size_t kMaxHeaderBytes = 100'000'000;  // the format's own limit

struct DtypeName {
  const char* name;
  at::ScalarType dtype;
};
constexpr DtypeName kDtypes[] = {
    {"F32", at::kFloat}, {"BF16", at::kBFloat16}, {"F16", at::kHalf}, {"F64", at::kDouble}, {"I64", at::kLong},
    {"I32", at::kInt},   {"I16", at::kShort},     {"I8", at::kChar},  {"U8", at::kByte},    {"BOOL", at::kBool}};

std::optional<at::ScalarType> dtype_of(const std::string& name) {
  for (const auto& entry : kDtypes)
    if (name == entry.name) return entry.dtype;
  return std::nullopt;
}

const char* name_of(at::ScalarType dtype) {
  for (const auto& entry : kDtypes)
    if (dtype == entry.dtype) return entry.name;
  fail("safetensors: dtype {} cannot be written", c10::toString(dtype));
}

// Size in bytes, or nothing if the numbers overflow.
std::optional<size_t> byte_count(const std::vector<int64_t>& shape, at::ScalarType dtype) {
  size_t bytes = at::elementSize(dtype);
  for (const int64_t extent : shape)
    if (extent < 0 || __builtin_mul_overflow(bytes, static_cast<size_t>(extent), &bytes)) return std::nullopt;
  return bytes;
}

// A tensor's entry in the header, checked.
SafetensorsFile::Entry read_entry(const std::string& file, const std::string& name, const nlohmann::json& value,
                                  size_t data_bytes) {
  SafetensorsFile::Entry entry;
  std::string dtype;
  std::vector<uint64_t> offsets;
  try {
    dtype = value.at("dtype").get<std::string>();
    check(value.at("shape").is_array(), "{}: tensor '{}': shape {} is not a list of sizes", file, name,
          value.at("shape").dump());
    for (const auto& extent : value.at("shape")) {
      check(extent.is_number_unsigned(), "{}: tensor '{}': shape {} is not a list of sizes", file, name,
            value.at("shape").dump());
      entry.shape.push_back(extent.get<int64_t>());
    }
    for (const auto& offset : value.at("data_offsets")) {
      check(offset.is_number_unsigned(), "{}: tensor '{}': data_offsets {} are not two offsets", file, name,
            value.at("data_offsets").dump());
      offsets.push_back(offset.get<uint64_t>());
    }
  } catch (const nlohmann::json::exception& error) {
    fail("{}: tensor '{}': header entry {} is malformed ({})", file, name, value.dump(), error.what());
  }
  const auto known = dtype_of(dtype);
  check(known.has_value(), "{}: tensor '{}': dtype {} is not supported", file, name, dtype);
  entry.dtype = *known;
  check(offsets.size() == 2 && offsets[0] <= offsets[1], "{}: tensor '{}': data_offsets {} are not two offsets", file,
        name, value.at("data_offsets").dump());
  check(offsets[1] <= data_bytes,
        "{}: tensor '{}' lies at bytes {}..{} of the data, but the file holds only {}: truncated?", file, name,
        offsets[0], offsets[1], data_bytes);
  entry.begin = offsets[0];
  entry.end = offsets[1];
  std::vector<int64_t> strides = entry.shape;  // of an empty tensor, too: its other sizes are multiplied
  for (int64_t& extent : strides) extent = std::max<int64_t>(extent, 1);
  const auto span = byte_count(strides, at::kDouble);
  check(span && *span <= static_cast<size_t>(INT64_MAX), "{}: tensor '{}': shape [{}] is too large", file, name,
        fmt::join(entry.shape, ", "));
  const auto bytes = byte_count(entry.shape, entry.dtype);
  check(bytes && *bytes == entry.end - entry.begin,
        "{}: tensor '{}': shape [{}] of {} expected {} bytes, header gives {}", file, name,
        fmt::join(entry.shape, ", "), dtype, bytes ? fmt::to_string(*bytes) : "too many", entry.end - entry.begin);
  return entry;
}

}  // namespace

std::shared_ptr<SafetensorsFile> SafetensorsFile::open(const std::filesystem::path& path) {
  std::shared_ptr<SafetensorsFile> file(new SafetensorsFile);
  file->path_ = path;
  const std::string other = no_file(path);  // a pipe would keep open() waiting
  check(other.empty(), "{}: expected a file, this is {}", path.string(), other);
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const int not_opened = errno;
  check(descriptor >= 0, "{}: cannot open: {}", path.string(), std::strerror(not_opened));
  struct stat status {};
  const bool regular = ::fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
  file->file_bytes_ = regular ? static_cast<size_t>(status.st_size) : 0;
  void* mapping = MAP_FAILED;
  // Private and writable: ATen may hand out mutable pointers; nothing is ever written back to the file.
  if (file->file_bytes_ >= 8)
    mapping = ::mmap(nullptr, file->file_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, descriptor, 0);
  const int reason = errno;
  ::close(descriptor);
  check(regular, "{}: expected a file", path.string());
  check(file->file_bytes_ >= 8, "{}: not a safetensors file: {} bytes, expected at least 8", path.string(),
        file->file_bytes_);
  check(mapping != MAP_FAILED, "{}: cannot map {} bytes: {}", path.string(), file->file_bytes_, std::strerror(reason));
  file->mapping_ = static_cast<const char*>(mapping);
  file->parse_header();
  return file;
}

SafetensorsFile::~SafetensorsFile() {
  if (mapping_) ::munmap(const_cast<char*>(mapping_), file_bytes_);
}

void SafetensorsFile::parse_header() {
  const std::string file = path_.string();
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, mapping_, 8);
  check(header_bytes <= kMaxHeaderBytes, "{}: not a safetensors file: its header would be {} bytes long", file,
        header_bytes);
  check(8 + header_bytes <= file_bytes_, "{}: truncated: header of {} bytes expected, the file has {} bytes in all",
        file, header_bytes, file_bytes_);
  data_offset_ = 8 + header_bytes;
  const size_t data_bytes = file_bytes_ - data_offset_;

  nlohmann::json header;
  try {
    header = parse_json({mapping_ + 8, header_bytes});
  } catch (const nlohmann::json::exception& error) {
    fail("{}: not a safetensors file: header is not valid JSON ({})", file, error.what());
  }
  check(header.is_object(), "{}: not a safetensors file: header is not a JSON object", file);

  std::vector<std::pair<std::pair<size_t, size_t>, std::string>> ranges;
  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__") {
      check(value.is_object(), "{}: __metadata__ is not a JSON object", file);
      for (const auto& [key, text] : value.items())
        metadata_[key] = text.is_string() ? text.get<std::string>() : text.dump();
      continue;
    }
    Entry entry = read_entry(file, name, value, data_bytes);
    ranges.push_back({{entry.begin, entry.end}, name});
    entries_.emplace(name, std::move(entry));
  }
  std::sort(ranges.begin(), ranges.end());
  for (size_t i = 1; i < ranges.size(); ++i)
    check(ranges[i].first.first >= ranges[i - 1].first.second, "{}: tensors '{}' and '{}' overlap", file,
          ranges[i - 1].second, ranges[i].second);
}

at::Tensor SafetensorsFile::tensor(const std::string& name) const {
  const auto found = entries_.find(name);
  check(found != entries_.end(), "{}: tensor '{}' is missing", path_.string(), name);
  const Entry& entry = found->second;
  char* data = const_cast<char*>(mapping_) + data_offset_ + entry.begin;
  const auto options = at::TensorOptions().dtype(entry.dtype);
  if (reinterpret_cast<uintptr_t>(data) % at::elementSize(entry.dtype) != 0) {
    at::Tensor copy = at::empty(entry.shape, options);  // the format does not promise alignment
    std::memcpy(copy.data_ptr(), data, entry.end - entry.begin);
    return copy;
  }
  return at::from_blob(
      data, entry.shape, [keep = shared_from_this()](void*) {}, options);
}

at::Tensor read_tensor(const std::filesystem::path& path, const std::string& name, const std::vector<int64_t>& shape) {
  const auto file = SafetensorsFile::open(path);
  if (!file->contains(name)) {
    std::vector<std::string> names;
    for (const auto& [other, entry] : file->entries()) names.push_back(other);
    fail("{}: tensor '{}' is missing; the file has: {}", path.string(), name, fmt::join(names, ", "));
  }
  at::Tensor tensor = file->tensor(name);
  bool fits = tensor.dim() == static_cast<int64_t>(shape.size());
  for (size_t i = 0; fits && i < shape.size(); ++i) fits = shape[i] < 0 || tensor.size(i) == shape[i];
  std::vector<std::string> expected;
  for (const int64_t extent : shape) expected.push_back(extent < 0 ? "any" : std::to_string(extent));
  check(fits, "{}: tensor '{}' expected shape [{}], got [{}]", path.string(), name, fmt::join(expected, ", "),
        fmt::join(tensor.sizes(), ", "));
  check(tensor.is_floating_point(), "{}: tensor '{}' expected floating point numbers, got {}", path.string(), name,
        c10::toString(tensor.scalar_type()));
  return tensor;
}

void write_safetensors(const std::filesystem::path& path, const std::map<std::string, at::Tensor>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  nlohmann::json header = nlohmann::json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  size_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    header[name] = {{"dtype", name_of(tensor.scalar_type())},
                    {"shape", tensor.sizes().vec()},
                    {"data_offsets", {offset, offset + tensor.nbytes()}}};
    offset += tensor.nbytes();
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // keeps the data aligned

  PendingFile file(path);
  const uint64_t header_bytes = text.size();
  file.write(&header_bytes, sizeof header_bytes);
  file.write(text.data(), text.size());
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor contiguous = tensor.cpu().contiguous();
    file.write(contiguous.const_data_ptr(), contiguous.nbytes());
  }
  file.commit();
}

}  // namespace dualparal
