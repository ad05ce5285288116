#include "common/utf8.h"

#include <cstring>

namespace thinkwire {
namespace {

constexpr Utf8Step Invalid(std::size_t length) {
  return {Utf8Step::Kind::kInvalid, length, 0xFFFD};
}

// What a lead byte promises: the character's length and the range of its second byte (Unicode
// table 3-7; the narrowed ranges shut out overlong forms, surrogates and what is above U+10FFFF).
struct Lead {
  std::size_t length;  // 0: not a lead byte of several
  std::uint8_t second_min;
  std::uint8_t second_max;
};

Lead ClassifyLead(std::uint8_t byte) {
  if (byte >= 0xC2 && byte <= 0xDF) return {2, 0x80, 0xBF};
  if (byte >= 0xE0 && byte <= 0xEF) {
    return {3, static_cast<std::uint8_t>(byte == 0xE0 ? 0xA0 : 0x80),
            static_cast<std::uint8_t>(byte == 0xED ? 0x9F : 0xBF)};
  }
  if (byte >= 0xF0 && byte <= 0xF4) {
    return {4, static_cast<std::uint8_t>(byte == 0xF0 ? 0x90 : 0x80),
            static_cast<std::uint8_t>(byte == 0xF4 ? 0x8F : 0xBF)};
  }
  return {0, 0, 0};
}

}  // namespace

Utf8Step DecodeUtf8(std::string_view bytes) {
  const auto at = [&](std::size_t i) { return static_cast<std::uint8_t>(bytes[i]); };
  if (at(0) < 0x80) return {Utf8Step::Kind::kCharacter, 1, at(0)};
  const Lead lead = ClassifyLead(at(0));
  if (lead.length == 0) return Invalid(1);
  char32_t code_point = at(0) & (0x7F >> lead.length);
  for (std::size_t i = 1; i < lead.length; ++i) {
    if (i == bytes.size()) return {Utf8Step::Kind::kIncomplete, i, 0xFFFD};
    const std::uint8_t min = i == 1 ? lead.second_min : 0x80;
    const std::uint8_t max = i == 1 ? lead.second_max : 0xBF;
    if (at(i) < min || at(i) > max) return Invalid(i);
    code_point = code_point << 6 | (at(i) & 0x3F);
  }
  return {Utf8Step::Kind::kCharacter, lead.length, code_point};
}

std::size_t NumAsciiBytesAtBegin(std::string_view bytes) {
  std::size_t at = 0;
  for (std::uint64_t word = 0; at + sizeof(word) <= bytes.size(); at += sizeof(word)) {
    std::memcpy(&word, bytes.data() + at, sizeof(word));
    if ((word & 0x8080808080808080) != 0) break;
  }
  while (at < bytes.size() && static_cast<std::uint8_t>(bytes[at]) < 0x80) ++at;
  return at;
}

bool IsValidUtf8(std::string_view bytes) {
  while (true) {
    bytes.remove_prefix(NumAsciiBytesAtBegin(bytes));
    if (bytes.empty()) return true;
    const Utf8Step step = DecodeUtf8(bytes);
    if (step.kind != Utf8Step::Kind::kCharacter) return false;
    bytes.remove_prefix(step.length);
  }
}

void AppendUtf8(char32_t code_point, std::string* out) {
  const auto push = [out](std::uint32_t byte) { out->push_back(static_cast<char>(byte)); };
  if (code_point < 0x80) {
    push(code_point);
  } else if (code_point < 0x800) {
    push(0xC0 | code_point >> 6);
    push(0x80 | (code_point & 0x3F));
  } else if (code_point < 0x10000) {
    push(0xE0 | code_point >> 12);
    push(0x80 | (code_point >> 6 & 0x3F));
    push(0x80 | (code_point & 0x3F));
  } else {
    push(0xF0 | code_point >> 18);
    push(0x80 | (code_point >> 12 & 0x3F));
    push(0x80 | (code_point >> 6 & 0x3F));
    push(0x80 | (code_point & 0x3F));
  }
}

std::string ReplaceInvalidUtf8(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  while (!bytes.empty()) {
    const Utf8Step step = DecodeUtf8(bytes);
    out.append(step.kind == Utf8Step::Kind::kCharacter ? bytes.substr(0, step.length)
                                                       : kReplacementCharacter);
    bytes.remove_prefix(step.length);
  }
  return out;
}

std::string CutText(std::string_view text, std::size_t max_bytes) {
  std::string out;
  while (!text.empty()) {
    const Utf8Step step = DecodeUtf8(text);
    const std::string_view character = step.kind == Utf8Step::Kind::kCharacter
                                           ? text.substr(0, step.length)
                                           : kReplacementCharacter;
    if (out.size() + character.size() > max_bytes) return out + "...";
    out += character;
    text.remove_prefix(step.length);
  }
  return out;
}

}  // namespace thinkwire
