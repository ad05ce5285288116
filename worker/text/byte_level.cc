#include "worker/text/byte_level.h"

#include <array>
#include <utility>

#include "common/utf8.h"

namespace thinkwire::worker::text {
namespace {

constexpr char32_t kCodePointEnd = 0x100 + 68;

constexpr bool SpellsItself(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

struct ByteTables {
  std::array<char32_t, 256> code_point_of_byte{};
  std::array<int, kCodePointEnd> byte_of_code_point{};  // -1: spells no byte
};

constexpr ByteTables MakeTables() {
  ByteTables tables;
  tables.byte_of_code_point.fill(-1);
  char32_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const char32_t code_point = SpellsItself(byte) ? static_cast<char32_t>(byte) : next++;
    tables.code_point_of_byte[byte] = code_point;
    tables.byte_of_code_point[code_point] = byte;
  }
  return tables;
}

constexpr ByteTables kTables = MakeTables();

}  // namespace

std::optional<std::string> BytesFromSpelling(std::string_view spelling) {
  std::optional<std::string> bytes(std::in_place);
  bytes->reserve(spelling.size());
  while (!spelling.empty()) {
    const auto first = static_cast<std::uint8_t>(spelling.front());
    const Utf8Step step =
        first < 0x80 ? Utf8Step{Utf8Step::Kind::kCharacter, 1, first} : DecodeUtf8(spelling);
    if (step.code_point >= kCodePointEnd) return std::nullopt;
    const int byte = kTables.byte_of_code_point[step.code_point];
    if (byte < 0) return std::nullopt;
    bytes->push_back(static_cast<char>(byte));
    spelling.remove_prefix(step.length);
  }
  return bytes;
}

std::string SpellBytes(std::string_view bytes) {
  std::string spelling;
  for (const char byte : bytes) {
    AppendUtf8(kTables.code_point_of_byte[static_cast<std::uint8_t>(byte)], &spelling);
  }
  return spelling;
}

}  // namespace thinkwire::worker::text
