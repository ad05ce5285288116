#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "common/gguf.h"

namespace thinkwire {

// Writes GGUF version 3, one value and tensor after another, and whatever is asked for: what no
// reader should take, too.
class GgufWriter {
 public:
  std::uint32_t version = 3;
  std::uint64_t alignment = 32;  // of the data; `general.alignment` is a value of its own

  // The raw bytes of a number.
  template <class T>
  static std::string Bytes(T number) {
    static_assert(std::is_arithmetic_v<T>);
    std::string bytes(sizeof(T), '\0');
    std::memcpy(bytes.data(), &number, sizeof(T));
    return bytes;
  }
  static std::string String(std::string_view text) {
    return Bytes<std::uint64_t>(text.size()) + std::string(text);
  }

  // A value of any type, its bytes as they are.
  GgufWriter& Raw(std::string_view key, GgufType type, std::string_view bytes) {
    values_ += String(key) + Bytes(static_cast<std::uint32_t>(type)) + std::string(bytes);
    ++num_values_;
    return *this;
  }
  GgufWriter& U32(std::string_view key, std::uint32_t value) {
    return Raw(key, GgufType::kU32, Bytes(value));
  }
  GgufWriter& F32(std::string_view key, float value) {
    return Raw(key, GgufType::kF32, Bytes(value));
  }
  GgufWriter& Text(std::string_view key, std::string_view value) {
    return Raw(key, GgufType::kString, String(value));
  }
  GgufWriter& Strings(std::string_view key, const std::vector<std::string>& values) {
    std::string bytes = ArrayHead(GgufType::kString, values.size());
    for (const std::string& value : values) bytes += String(value);
    return Raw(key, GgufType::kArray, bytes);
  }
  GgufWriter& I32s(std::string_view key, const std::vector<std::int32_t>& values) {
    std::string bytes = ArrayHead(GgufType::kI32, values.size());
    for (const std::int32_t value : values) bytes += Bytes(value);
    return Raw(key, GgufType::kArray, bytes);
  }

  // Slowest dimension first.
  GgufWriter& Tensor(std::string_view name, std::uint32_t type, std::vector<std::int64_t> shape,
                     std::string_view data) {
    return TensorAt(name, type, std::move(shape), PlaceOf(data));
  }
  // A tensor whose bytes begin at `offset` of the data, whatever lies there.
  GgufWriter& TensorAt(std::string_view name, std::uint32_t type, std::vector<std::int64_t> shape,
                       std::uint64_t offset) {
    tensors_ += String(name) + Bytes(static_cast<std::uint32_t>(shape.size()));
    for (std::size_t i = shape.size(); i-- > 0;) tensors_ += Bytes(shape[i]);
    tensors_ += Bytes(type) + Bytes(offset);
    ++num_tensors_;
    return *this;
  }

  static std::string ArrayHead(GgufType element, std::uint64_t count) {
    return Bytes(static_cast<std::uint32_t>(element)) + Bytes(count);
  }

  std::string Header() const {
    return "GGUF" + Bytes(version) + Bytes(num_tensors_) + Bytes(num_values_) + values_ + tensors_;
  }
  std::string File() const {
    std::string file = Header();
    file.resize((file.size() + alignment - 1) / alignment * alignment);
    return file + data_;
  }

 private:
  std::uint64_t PlaceOf(std::string_view data) {
    const std::uint64_t offset = (data_.size() + alignment - 1) / alignment * alignment;
    data_.resize(offset);
    data_ += data;
    return offset;
  }

  std::string values_;
  std::string tensors_;
  std::string data_;
  std::uint64_t num_values_ = 0;
  std::uint64_t num_tensors_ = 0;
};

}  // namespace thinkwire
