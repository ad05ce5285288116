#include "common/gguf_header.h"

#include <bit>
#include <cstring>

namespace thinkwire {
namespace {

template <class T>
void Append(T number, std::string& to) {
  static_assert(std::endian::native == std::endian::little, "the file's numbers are ours");
  char bytes[sizeof(T)];
  std::memcpy(bytes, &number, sizeof(T));
  to.append(bytes, sizeof(T));
}

void AppendText(std::string_view text, std::string& to) {
  Append(static_cast<std::uint64_t>(text.size()), to);
  to.append(text);
}

void AppendArrayHead(GgufType element, std::size_t count, std::string& to) {
  Append(static_cast<std::uint32_t>(element), to);
  Append(static_cast<std::uint64_t>(count), to);
}

}  // namespace

void GgufHeader::Key(std::string_view key, GgufType type) {
  AppendText(key, values_);
  Append(static_cast<std::uint32_t>(type), values_);
  ++num_values_;
}

void GgufHeader::U32(std::string_view key, std::uint32_t value) {
  Key(key, GgufType::kU32);
  Append(value, values_);
}

void GgufHeader::F32(std::string_view key, float value) {
  Key(key, GgufType::kF32);
  Append(value, values_);
}

void GgufHeader::Flag(std::string_view key, bool value) {
  Key(key, GgufType::kBool);
  Append(static_cast<std::uint8_t>(value ? 1 : 0), values_);
}

void GgufHeader::Text(std::string_view key, std::string_view value) {
  Key(key, GgufType::kString);
  AppendText(value, values_);
}

void GgufHeader::Texts(std::string_view key, std::span<const std::string> values) {
  Key(key, GgufType::kArray);
  AppendArrayHead(GgufType::kString, values.size(), values_);
  for (const std::string& value : values) AppendText(value, values_);
}

void GgufHeader::I32s(std::string_view key, std::span<const std::int32_t> values) {
  Key(key, GgufType::kArray);
  AppendArrayHead(GgufType::kI32, values.size(), values_);
  for (const std::int32_t value : values) Append(value, values_);
}

void GgufHeader::Tensor(std::string_view name, std::uint32_t type,
                        std::span<const std::int64_t> shape, std::size_t bytes) {
  AppendText(name, tensors_);
  Append(static_cast<std::uint32_t>(shape.size()), tensors_);
  for (std::size_t i = shape.size(); i-- > 0;) Append(shape[i], tensors_);
  Append(type, tensors_);
  Append(data_bytes_, tensors_);
  data_bytes_ += bytes + PaddingAfter(bytes);
  ++num_tensors_;
}

std::string GgufHeader::Bytes() const {
  constexpr std::uint32_t kVersion = 3;
  std::string bytes = "GGUF";
  Append(kVersion, bytes);
  Append(num_tensors_, bytes);
  Append(num_values_, bytes);
  bytes += values_;
  bytes += tensors_;
  bytes.append(PaddingAfter(bytes.size()), '\0');
  return bytes;
}

std::size_t GgufHeader::PaddingAfter(std::size_t bytes) {
  return (kAlignment - bytes % kAlignment) % kAlignment;
}

}  // namespace thinkwire
