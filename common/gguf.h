#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"

// GGUF, versions 2 and 3, as llama.cpp defines it (ggml's docs/gguf.md): named values, then a
// directory of tensors, then their data. Only the container is known here: what its values and
// tensors mean is for who asks. All numbers are little-endian.
namespace thinkwire {

// Of values, and of the elements of an array; the numbers are the file's.
enum class GgufType : std::uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};

// "u32"
std::string_view NameOf(GgufType type);

// An array as it lies in the file, its lengths checked.
struct GgufArray {
  GgufType element = GgufType::kU8;  // never kArray
  std::uint64_t count = 0;
  std::span<const std::byte> bytes;

  // The elements of an array of strings, in order, any bytes. REQUIRES: element is kString.
  std::vector<std::string_view> Strings() const;
  // The elements of an array of whole numbers; of unsigned ones beyond 2^63 - 1 that.
  // REQUIRES: element is an integer.
  std::vector<std::int64_t> Integers() const;
};

bool IsInteger(GgufType type);

// A value: whole numbers by their sign, f32 and f64 as double.
using GgufValue =
    std::variant<std::uint64_t, std::int64_t, double, bool, std::string_view, GgufArray>;

// How the elements of a tensor are stored: `elements` of them together in `bytes`.
struct GgufTensorType {
  std::uint32_t id = 0;
  std::string_view name;  // "Q4_K"
  std::int64_t elements = 1;
  std::int64_t bytes = 1;
};

struct GgufTensor {
  std::string name;
  const GgufTensorType* type = nullptr;
  // Slowest dimension first, as in [rows, columns]: the file has them the other way round.
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;  // any alignment; exactly what type and shape need
};

// What a file holds. Points into the file's bytes, which must outlive it.
struct GgufContent {
  std::map<std::string, GgufValue, std::less<>> values;
  std::vector<GgufTensor> tensors;  // by ascending offset

  const GgufValue* Find(std::string_view key) const;  // null if there is none
};

// Reads values and directory, at most kMaxTensorHeaderBytes of them, and no byte of a tensor.
// Tensors neither overlap nor reach beyond the file, whole blocks make up their rows, and each
// begins where `general.alignment` (32 if unset) lets it.
// Fails: INVALID_ARGUMENT "name: what is wrong", with the key or tensor, on whatever bytes `file`
// holds.
absl::StatusOr<GgufContent> ParseGguf(std::span<const std::byte> file, std::string_view name);

}  // namespace thinkwire
