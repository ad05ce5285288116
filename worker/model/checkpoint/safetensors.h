#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace thinkwire::worker::model {

// One entry of a safetensors header, with its bytes.
struct StoredTensor {
  std::string name;
  std::string dtype;  // as spelt in the file: "BF16", "F16", "F32", "I64", ...
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;  // any alignment; exactly what dtype and shape need
};

// A tensor's name as a message shows it: in quotes, on one line, not long.
std::string QuotedName(absl::string_view name);

// The tensors of one safetensors file, by ascending offset: u64 little-endian N, N bytes of JSON
// (at most 100,000,000), then the data that the header's offsets cover without holes or overlaps.
// Keys that the format does not name and `__metadata__` of null are passed over, as safetensors
// 0.8.0 does; a key that is there twice and white space before the first { are refused.
// The result's `bytes` point into `file`. Nothing but the header is read.
// Fails: INVALID_ARGUMENT "name: tensor "x": what is wrong", on whatever bytes `file` holds.
absl::StatusOr<std::vector<StoredTensor>> ParseSafetensors(std::span<const std::byte> file,
                                                           absl::string_view name);

}  // namespace thinkwire::worker::model
