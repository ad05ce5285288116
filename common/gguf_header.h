#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/gguf.h"

namespace thinkwire {

// What a GGUF file that is yet to be written begins with (version 3, common/gguf.h): values and
// directory in the order in which they are given. The data of the tensors follow in that order,
// each filled up to whole kAlignment bytes. A key or tensor that is given twice is the caller's
// bug, which readers refuse.
class GgufHeader {
 public:
  static constexpr std::size_t kAlignment = 32;  // readers' default, so that no value tells it

  void U32(std::string_view key, std::uint32_t value);
  void F32(std::string_view key, float value);
  void Flag(std::string_view key, bool value);
  void Text(std::string_view key, std::string_view value);
  void Texts(std::string_view key, std::span<const std::string> values);
  void I32s(std::string_view key, std::span<const std::int32_t> values);

  // `type` is ggml's number, `shape` slowest dimension first, `bytes` what the data will take.
  void Tensor(std::string_view name, std::uint32_t type, std::span<const std::int64_t> shape,
              std::size_t bytes);

  // All of it, filled up to where the data begin.
  std::string Bytes() const;

  // What fills up `bytes` of a tensor.
  static std::size_t PaddingAfter(std::size_t bytes);

 private:
  void Key(std::string_view key, GgufType type);

  std::string values_;
  std::string tensors_;
  std::uint64_t num_values_ = 0;
  std::uint64_t num_tensors_ = 0;
  std::uint64_t data_bytes_ = 0;
};

}  // namespace thinkwire
