#include "worker/model/checkpoint/safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/file.h"
#include "common/input_limits.h"
#include "common/json.h"
#include "common/shown_text.h"
#include "common/status.h"
#include "common/utf8.h"

namespace thinkwire::worker::model {
namespace {

using nlohmann::json;

constexpr std::size_t kLengthBytes = 8;

struct StoredType {
  absl::string_view name;
  std::uint64_t bits;
};
constexpr std::array<StoredType, 22> kStoredTypes = {
    {{"BF16", 16},       {"F16", 16},        {"F32", 32},    {"F64", 64}, {"C64", 64},
     {"F8_E4M3", 8},     {"F8_E5M2", 8},     {"F8_E8M0", 8}, {"I8", 8},   {"I16", 16},
     {"I32", 32},        {"I64", 64},        {"U8", 8},      {"U16", 16}, {"U32", 32},
     {"U64", 64},        {"F8_E4M3FNUZ", 8}, {"BOOL", 8},    {"F4", 4},   {"F6_E2M3", 6},
     {"F8_E5M2FNUZ", 8}, {"F6_E3M2", 6}}};

struct Entry {
  std::string name;
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

// The JSON part of the file, its lengths checked.
absl::StatusOr<absl::string_view> HeaderText(std::span<const std::byte> file,
                                             absl::string_view name) {
  if (IsLfsPointer({reinterpret_cast<const char*>(file.data()), file.size()})) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": ", kLfsPointerProblem));
  }
  if (file.size() < kLengthBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        name, ": ", file.size(), " bytes are too few for a safetensors file; is it truncated?"));
  }
  std::uint64_t length = 0;
  for (std::size_t i = kLengthBytes; i-- > 0;) {
    length = length << 8 | std::to_integer<std::uint64_t>(file[i]);
  }
  if (length > kMaxTensorHeaderBytes) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": header of ", length, " bytes; at most ",
                                                   kMaxTensorHeaderBytes, " are allowed"));
  }
  if (length > file.size() - kLengthBytes) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": header of ", length,
                                                   " bytes in a file of ", file.size(),
                                                   " bytes; is it truncated?"));
  }
  const absl::string_view text(reinterpret_cast<const char*>(file.data()) + kLengthBytes, length);
  if (text.empty() || text.front() != '{') {
    return absl::InvalidArgumentError(absl::StrCat(name, ": header does not begin with {"));
  }
  return text;
}

// A value as a message shows it.
std::string Shown(const json& value) { return CutText(value.dump(), kMaxShownBytes); }

// A JSON integer in [0, 2^63).
std::optional<std::uint64_t> Natural(const json& value) {
  if (!value.is_number_unsigned()) return std::nullopt;
  const auto number = value.get<std::uint64_t>();
  if (number > INT64_MAX) return std::nullopt;
  return number;
}

// Bytes that a tensor needs; nothing where the product overflows or ends within a byte.
std::optional<std::uint64_t> NeededBytes(std::span<const std::int64_t> shape,
                                         std::uint64_t element_bits) {
  std::uint64_t bits = element_bits;
  for (const std::int64_t dim : shape) {
    if (__builtin_mul_overflow(bits, static_cast<std::uint64_t>(dim), &bits)) {
      return std::nullopt;
    }
  }
  if (bits % 8 != 0) return std::nullopt;
  return bits / 8;
}

// Reads dtype, shape and offsets of `value` into `entry`; the returned text says what is wrong,
// and is empty if nothing is.
std::string ReadEntry(const json& value, Entry& entry) {
  if (!value.is_object()) return "not an object";
  const auto dtype = value.find("dtype");
  const auto shape = value.find("shape");
  const auto offsets = value.find("data_offsets");
  if (dtype == value.end() || !dtype->is_string()) return "dtype is missing";
  if (shape == value.end() || !shape->is_array()) return "shape is missing";
  if (offsets == value.end() || !offsets->is_array() || offsets->size() != 2) {
    return "data_offsets are missing";
  }
  entry.dtype = dtype->get<std::string>();
  const auto type = std::find_if(kStoredTypes.begin(), kStoredTypes.end(),
                                 [&](const StoredType& t) { return t.name == entry.dtype; });
  if (type == kStoredTypes.end()) return absl::StrCat("unknown dtype ", Shown(*dtype));
  for (const json& dim : *shape) {
    const auto number = Natural(dim);
    if (!number) return absl::StrCat("shape ", Shown(*shape), " is not a list of sizes");
    entry.shape.push_back(static_cast<std::int64_t>(*number));
  }
  const auto begin = Natural((*offsets)[0]);
  const auto end = Natural((*offsets)[1]);
  if (!begin || !end || *end < *begin) {
    return absl::StrCat("data_offsets ", Shown(*offsets), " are not an ascending pair");
  }
  entry.begin = *begin;
  entry.end = *end;
  const auto needed = NeededBytes(entry.shape, type->bits);
  if (!needed || *needed != *end - *begin) {
    return absl::StrCat("data_offsets ", Shown(*offsets), " hold ", *end - *begin, " bytes; dtype ",
                        entry.dtype, " and shape ", Shown(*shape), " need ",
                        needed ? absl::StrCat(*needed) : "what is no number of bytes");
  }
  return "";
}

bool IsMetadata(const json& value) {
  if (value.is_null()) return true;
  return value.is_object() &&
         std::all_of(value.begin(), value.end(), [](const json& item) { return item.is_string(); });
}

absl::Status TensorError(absl::string_view name, const Entry& entry, absl::string_view problem) {
  return absl::InvalidArgumentError(
      absl::StrCat(name, ": tensor ", QuotedName(entry.name), ": ", problem));
}

// The entries, which are sorted by offset, must cover [0, data_bytes) exactly.
absl::Status CheckCover(std::span<const Entry> entries, std::uint64_t data_bytes,
                        absl::string_view name) {
  std::uint64_t next = 0;
  for (const Entry& entry : entries) {
    if (entry.end > data_bytes) {
      return TensorError(name, entry,
                         absl::StrCat("ends at byte ", entry.end, " of ", data_bytes,
                                      " data bytes; is the file truncated?"));
    }
    if (entry.begin < next) {
      return TensorError(name, entry,
                         absl::StrCat("overlaps the tensor before it, which ends at ", next,
                                      ", as it begins at ", entry.begin));
    }
    if (entry.begin > next) {
      return TensorError(
          name, entry,
          absl::StrCat("leaves a hole from ", next, " to ", entry.begin, " before it"));
    }
    next = entry.end;
  }
  if (next != data_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        name, ": ", data_bytes - next, " bytes after the last tensor belong to no tensor"));
  }
  return absl::OkStatus();
}

}  // namespace

std::string QuotedName(absl::string_view name) {
  return absl::StrCat("\"", ShownText({name.data(), name.size()}), "\"");
}

absl::StatusOr<std::vector<StoredTensor>> ParseSafetensors(std::span<const std::byte> file,
                                                           absl::string_view name) {
  ASSIGN_OR_RETURN(const absl::string_view text, HeaderText(file, name));
  ASSIGN_OR_RETURN(const json header,
                   ParseJson({text.data(), text.size()}, absl::StrCat(name, ": header")));
  std::vector<Entry> entries;
  for (const auto& [key, value] : header.items()) {
    if (key == "__metadata__") {
      if (!IsMetadata(value)) {
        return absl::InvalidArgumentError(absl::StrCat(name, ": __metadata__ is not all strings"));
      }
      continue;
    }
    Entry& entry = entries.emplace_back();
    entry.name = key;
    const std::string problem = ReadEntry(value, entry);
    if (!problem.empty()) return TensorError(name, entry, problem);
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  const std::span<const std::byte> data = file.subspan(kLengthBytes + text.size());
  RETURN_IF_ERROR(CheckCover(entries, data.size(), name));
  std::vector<StoredTensor> tensors;
  tensors.reserve(entries.size());
  for (Entry& entry : entries) {
    tensors.push_back({std::move(entry.name), std::move(entry.dtype), std::move(entry.shape),
                       data.subspan(entry.begin, entry.end - entry.begin)});
  }
  return tensors;
}

}  // namespace thinkwire::worker::model
