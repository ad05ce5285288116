#include "common/gguf.h"

#include <algorithm>
#include <array>
#include <bit>
#include <concepts>
#include <cstring>
#include <limits>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/check.h"
#include "common/file.h"
#include "common/input_limits.h"
#include "common/shown_text.h"
#include "common/status.h"
#include "common/strings.h"

namespace thinkwire {
namespace {

// ggml's types (ggml.h, enum ggml_type), those that no file may hold any more left out.
constexpr std::array<GgufTensorType, 32> kTensorTypes = {
    {{0, "F32", 1, 4},         {1, "F16", 1, 2},         {2, "Q4_0", 32, 18},
     {3, "Q4_1", 32, 20},      {6, "Q5_0", 32, 22},      {7, "Q5_1", 32, 24},
     {8, "Q8_0", 32, 34},      {9, "Q8_1", 32, 40},      {10, "Q2_K", 256, 84},
     {11, "Q3_K", 256, 110},   {12, "Q4_K", 256, 144},   {13, "Q5_K", 256, 176},
     {14, "Q6_K", 256, 210},   {15, "Q8_K", 256, 292},   {16, "IQ2_XXS", 256, 66},
     {17, "IQ2_XS", 256, 74},  {18, "IQ3_XXS", 256, 98}, {19, "IQ1_S", 256, 50},
     {20, "IQ4_NL", 32, 18},   {21, "IQ3_S", 256, 110},  {22, "IQ2_S", 256, 82},
     {23, "IQ4_XS", 256, 136}, {24, "I8", 1, 1},         {25, "I16", 1, 2},
     {26, "I32", 1, 4},        {27, "I64", 1, 8},        {28, "F64", 1, 8},
     {29, "IQ1_M", 256, 56},   {30, "BF16", 1, 2},       {34, "TQ1_0", 256, 54},
     {35, "TQ2_0", 256, 66},   {39, "MXFP4", 32, 17}}};

constexpr std::array<std::string_view, 13> kTypeNames = {
    "u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "array", "u64", "i64", "f64"};

constexpr std::string_view kMagic = "GGUF";
constexpr std::uint64_t kDefaultAlignment = 32;
constexpr std::uint64_t kMaxAlignment = 1 << 20;
constexpr std::uint32_t kMaxDimensions = 4;

// Bytes of a fixed-size element; 0: it has none.
std::size_t SizeOf(GgufType type) {
  switch (type) {
    case GgufType::kU8:
    case GgufType::kI8:
    case GgufType::kBool:
      return 1;
    case GgufType::kU16:
    case GgufType::kI16:
      return 2;
    case GgufType::kU32:
    case GgufType::kI32:
    case GgufType::kF32:
      return 4;
    case GgufType::kU64:
    case GgufType::kI64:
    case GgufType::kF64:
      return 8;
    default:
      return 0;
  }
}

template <class T>
T Load(const std::byte* at) {
  static_assert(std::endian::native == std::endian::little, "the file's numbers are ours");
  T value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

// The integer of `type` at `at`, whole numbers without a sign as they are.
template <class Visit>
auto VisitInteger(GgufType type, const std::byte* at, const Visit& visit) {
  switch (type) {
    case GgufType::kU8:
      return visit(std::uint64_t{Load<std::uint8_t>(at)});
    case GgufType::kI8:
      return visit(std::int64_t{Load<std::int8_t>(at)});
    case GgufType::kU16:
      return visit(std::uint64_t{Load<std::uint16_t>(at)});
    case GgufType::kI16:
      return visit(std::int64_t{Load<std::int16_t>(at)});
    case GgufType::kU32:
      return visit(std::uint64_t{Load<std::uint32_t>(at)});
    case GgufType::kI32:
      return visit(std::int64_t{Load<std::int32_t>(at)});
    case GgufType::kU64:
      return visit(Load<std::uint64_t>(at));
    case GgufType::kI64:
      return visit(Load<std::int64_t>(at));
    default:
      CHECK(false, "a type that is an integer");
  }
}

std::string Quoted(std::string_view text) { return absl::StrCat("\"", ShownText(text), "\""); }

// Reads from the beginning to the end. Every Take says where the file ends too early.
class Cursor {
 public:
  explicit Cursor(std::span<const std::byte> bytes) : bytes_(bytes) {}

  std::size_t at() const { return at_; }

  absl::StatusOr<std::span<const std::byte>> Take(std::uint64_t count) {
    if (count > bytes_.size() - at_) return Truncated(count);
    const auto taken = bytes_.subspan(at_, count);
    at_ += count;
    return taken;
  }

  template <class T>
  absl::StatusOr<T> Number() {
    ASSIGN_OR_RETURN(const auto bytes, Take(sizeof(T)));
    return Load<T>(bytes.data());
  }

  absl::StatusOr<std::string_view> String() {
    ASSIGN_OR_RETURN(const auto length, Number<std::uint64_t>());
    ASSIGN_OR_RETURN(const auto bytes, Take(length));
    return std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }

 private:
  absl::Status Truncated(std::uint64_t count) const {
    return absl::InvalidArgumentError(
        absl::StrCat(count, " bytes are due at byte ", at_, ", of which ", bytes_.size() - at_,
                     " are there or may be (the header may have ", kMaxTensorHeaderBytes,
                     "); is the file truncated?"));
  }

  std::span<const std::byte> bytes_;
  std::size_t at_ = 0;
};

absl::StatusOr<GgufType> ReadType(Cursor& cursor) {
  ASSIGN_OR_RETURN(const auto id, cursor.Number<std::uint32_t>());
  if (id < kTypeNames.size()) return static_cast<GgufType>(id);
  return absl::InvalidArgumentError(absl::StrCat("its type is ", id, "; types are 0 to 12"));
}

absl::StatusOr<GgufArray> ReadArray(Cursor& cursor, std::span<const std::byte> file) {
  GgufArray array;
  ASSIGN_OR_RETURN(array.element, ReadType(cursor));
  ASSIGN_OR_RETURN(array.count, cursor.Number<std::uint64_t>());
  if (array.element == GgufType::kArray) {
    return absl::InvalidArgumentError("it is an array of arrays, which no reader takes");
  }
  const std::size_t begin = cursor.at();
  if (array.element == GgufType::kString) {
    for (std::uint64_t i = 0; i < array.count; ++i) RETURN_IF_ERROR(cursor.String().status());
    array.bytes = file.subspan(begin, cursor.at() - begin);
    return array;
  }
  if (array.count > kMaxTensorHeaderBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("it is an array of ", array.count, " elements, more than a header's bytes"));
  }
  ASSIGN_OR_RETURN(array.bytes, cursor.Take(array.count * SizeOf(array.element)));
  return array;
}

absl::StatusOr<GgufValue> ReadValue(Cursor& cursor, std::span<const std::byte> file) {
  ASSIGN_OR_RETURN(const GgufType type, ReadType(cursor));
  if (type == GgufType::kArray) return ReadArray(cursor, file);
  if (type == GgufType::kString) return cursor.String();
  ASSIGN_OR_RETURN(const auto bytes, cursor.Take(SizeOf(type)));
  if (type == GgufType::kF32) return double{Load<float>(bytes.data())};
  if (type == GgufType::kF64) return Load<double>(bytes.data());
  if (type != GgufType::kBool) {
    return VisitInteger(type, bytes.data(), [](auto value) { return GgufValue(value); });
  }
  const auto flag = Load<std::uint8_t>(bytes.data());
  if (flag > 1) return absl::InvalidArgumentError(absl::StrCat("it is a bool of ", int{flag}));
  return flag == 1;
}

absl::Status ReadValues(Cursor& cursor, std::span<const std::byte> file, std::uint64_t count,
                        GgufContent& content) {
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto key = cursor.String();
    if (!key.ok()) return Annotate(key.status(), absl::StrCat("key ", i));
    if (key->empty() || key->size() > std::numeric_limits<std::uint16_t>::max()) {
      return absl::InvalidArgumentError(
          absl::StrCat("key ", i, " has ", key->size(), " bytes; allowed: 1 to 65535"));
    }
    auto value = ReadValue(cursor, file);
    if (!value.ok()) return Annotate(value.status(), absl::StrCat("key ", Quoted(*key)));
    if (!content.values.emplace(*key, *value).second) {
      return absl::InvalidArgumentError(absl::StrCat("key ", Quoted(*key), " is there twice"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::uint64_t> Alignment(const GgufContent& content) {
  const GgufValue* value = content.Find("general.alignment");
  if (value == nullptr) return kDefaultAlignment;
  const auto* number = std::get_if<std::uint64_t>(value);
  if (number == nullptr || !std::has_single_bit(*number) || *number < 8 ||
      *number > kMaxAlignment) {
    return absl::InvalidArgumentError(
        absl::StrCat("general.alignment is ", number == nullptr ? "no u32" : absl::StrCat(*number),
                     "; allowed: powers of two from 8 to ", kMaxAlignment));
  }
  return *number;
}

// A directory's entry: the tensor, and where its bytes begin and end in the data.
struct Entry {
  GgufTensor tensor;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

absl::Status ReadShape(Cursor& cursor, std::vector<std::int64_t>& shape) {
  ASSIGN_OR_RETURN(const auto dimensions, cursor.Number<std::uint32_t>());
  if (dimensions < 1 || dimensions > kMaxDimensions) {
    return absl::InvalidArgumentError(
        absl::StrCat("has ", dimensions, " dimensions; allowed: 1 to ", kMaxDimensions));
  }
  for (std::uint32_t i = 0; i < dimensions; ++i) {
    ASSIGN_OR_RETURN(const auto size, cursor.Number<std::int64_t>());
    if (size < 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("has ", size, " elements in dimension ", i, "; at least 1 is allowed"));
    }
    shape.insert(shape.begin(), size);
  }
  return absl::OkStatus();
}

absl::StatusOr<const GgufTensorType*> ReadTensorType(Cursor& cursor) {
  ASSIGN_OR_RETURN(const auto id, cursor.Number<std::uint32_t>());
  const auto* type = std::find_if(kTensorTypes.begin(), kTensorTypes.end(),
                                  [id](const GgufTensorType& known) { return known.id == id; });
  if (type != kTensorTypes.end()) return type;
  return absl::InvalidArgumentError(absl::StrCat("has type ", id, ", which is not known"));
}

// Bytes of a tensor of this type and shape.
absl::StatusOr<std::uint64_t> NeededBytes(const GgufTensor& tensor) {
  const std::int64_t row = tensor.shape.back();
  if (row % tensor.type->elements != 0) {
    return absl::InvalidArgumentError(absl::StrCat("has rows of ", row, " elements, which ",
                                                   View(tensor.type->name), " stores in blocks of ",
                                                   tensor.type->elements));
  }
  std::int64_t bytes = tensor.type->bytes;
  bool overflows = __builtin_mul_overflow(bytes, row / tensor.type->elements, &bytes);
  for (std::size_t i = 0; i + 1 < tensor.shape.size(); ++i) {
    overflows = overflows || __builtin_mul_overflow(bytes, tensor.shape[i], &bytes);
  }
  if (!overflows) return static_cast<std::uint64_t>(bytes);
  return absl::InvalidArgumentError(
      absl::StrCat("has shape [", absl::StrJoin(tensor.shape, ", "), "], beyond any file"));
}

absl::Status ReadEntry(Cursor& cursor, std::uint64_t alignment, Entry& entry) {
  RETURN_IF_ERROR(ReadShape(cursor, entry.tensor.shape));
  ASSIGN_OR_RETURN(entry.tensor.type, ReadTensorType(cursor));
  ASSIGN_OR_RETURN(entry.begin, cursor.Number<std::uint64_t>());
  ASSIGN_OR_RETURN(const std::uint64_t bytes, NeededBytes(entry.tensor));
  if (entry.begin % alignment != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "begins at byte ", entry.begin, " of the data; allowed: multiples of ", alignment));
  }
  if (!__builtin_add_overflow(entry.begin, bytes, &entry.end)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("begins at byte ", entry.begin, " of the data, beyond any file"));
}

absl::Status TensorError(const Entry& entry, absl::string_view problem) {
  return absl::InvalidArgumentError(
      absl::StrCat("tensor ", Quoted(entry.tensor.name), " ", problem));
}

absl::StatusOr<std::vector<Entry>> ReadDirectory(Cursor& cursor, std::uint64_t count,
                                                 std::uint64_t alignment) {
  std::vector<Entry> entries;
  std::set<std::string_view> names;
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto name = cursor.String();
    if (!name.ok()) return Annotate(name.status(), absl::StrCat("tensor ", i));
    Entry& entry = entries.emplace_back();
    entry.tensor.name = std::string(*name);
    if (!names.insert(*name).second) return TensorError(entry, "is there twice");
    const absl::Status read = ReadEntry(cursor, alignment, entry);
    if (!read.ok()) return TensorError(entry, read.message());
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  return entries;
}

// Gives each tensor its bytes of `data`.
absl::Status Place(std::vector<Entry>& entries, std::span<const std::byte> data) {
  std::uint64_t next = 0;
  for (Entry& entry : entries) {
    if (entry.end > data.size()) {
      return TensorError(entry, absl::StrCat("ends at byte ", entry.end, " of ", data.size(),
                                             " data bytes; is the file truncated?"));
    }
    if (entry.begin < next) {
      return TensorError(entry, absl::StrCat("overlaps the tensor before it, which ends at ", next,
                                             ", as it begins at ", entry.begin));
    }
    next = entry.end;
    entry.tensor.bytes = data.subspan(entry.begin, entry.end - entry.begin);
  }
  return absl::OkStatus();
}

absl::Status ReadVersion(Cursor& cursor) {
  ASSIGN_OR_RETURN(const auto version, cursor.Number<std::uint32_t>());
  if (version == 2 || version == 3) return absl::OkStatus();
  const bool swapped = (version & 0xFFFFU) == 0;
  return absl::InvalidArgumentError(absl::StrCat("GGUF version ", swapped ? version >> 24 : version,
                                                 swapped ? ", big-endian" : "",
                                                 "; supported: 2 and 3, little-endian"));
}

absl::StatusOr<GgufContent> Read(std::span<const std::byte> file) {
  Cursor cursor(file.first(std::min(file.size(), kMaxTensorHeaderBytes)));
  ASSIGN_OR_RETURN(const auto magic, cursor.Take(kMagic.size()));
  if (std::memcmp(magic.data(), kMagic.data(), kMagic.size()) != 0) {
    return absl::InvalidArgumentError("not a GGUF file: it does not begin with \"GGUF\"");
  }
  RETURN_IF_ERROR(ReadVersion(cursor));
  ASSIGN_OR_RETURN(const auto num_tensors, cursor.Number<std::uint64_t>());
  ASSIGN_OR_RETURN(const auto num_values, cursor.Number<std::uint64_t>());
  GgufContent content;
  RETURN_IF_ERROR(ReadValues(cursor, file, num_values, content));
  ASSIGN_OR_RETURN(const std::uint64_t alignment, Alignment(content));
  ASSIGN_OR_RETURN(std::vector<Entry> entries, ReadDirectory(cursor, num_tensors, alignment));
  const std::uint64_t begin = (cursor.at() + alignment - 1) / alignment * alignment;
  RETURN_IF_ERROR(Place(entries, file.subspan(std::min<std::uint64_t>(begin, file.size()))));
  for (Entry& entry : entries) content.tensors.push_back(std::move(entry.tensor));
  return content;
}

}  // namespace

std::string_view NameOf(GgufType type) { return kTypeNames[static_cast<std::size_t>(type)]; }

bool IsInteger(GgufType type) {
  return SizeOf(type) != 0 && type != GgufType::kF32 && type != GgufType::kF64 &&
         type != GgufType::kBool;
}

std::vector<std::string_view> GgufArray::Strings() const {
  CHECK(element == GgufType::kString, "an array of strings");
  std::vector<std::string_view> strings;
  strings.reserve(count);
  for (std::size_t at = 0; at < bytes.size();) {
    const auto length = Load<std::uint64_t>(bytes.data() + at);
    at += sizeof(length);
    strings.emplace_back(reinterpret_cast<const char*>(bytes.data()) + at, length);
    at += length;
  }
  return strings;
}

std::vector<std::int64_t> GgufArray::Integers() const {
  std::vector<std::int64_t> numbers;
  numbers.reserve(count);
  for (std::size_t at = 0; at < bytes.size(); at += SizeOf(element)) {
    numbers.push_back(VisitInteger(element, bytes.data() + at, [](auto value) {
      constexpr auto kMost = std::numeric_limits<std::int64_t>::max();
      return std::cmp_greater(value, kMost) ? kMost : static_cast<std::int64_t>(value);
    }));
  }
  return numbers;
}

const GgufValue* GgufContent::Find(std::string_view key) const {
  const auto found = values.find(key);
  return found == values.end() ? nullptr : &found->second;
}

absl::StatusOr<GgufContent> ParseGguf(std::span<const std::byte> file, std::string_view name) {
  if (IsLfsPointer({reinterpret_cast<const char*>(file.data()), file.size()})) {
    return absl::InvalidArgumentError(absl::StrCat(View(name), ": ", kLfsPointerProblem));
  }
  auto content = Read(file);
  if (!content.ok()) return Annotate(content.status(), name);
  return content;
}

}  // namespace thinkwire
