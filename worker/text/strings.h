#pragma once

#include <concepts>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace thinkwire::worker::text {

inline void AppendPart(std::string_view part, std::string* out) { out->append(part); }

inline void AppendPart(std::integral auto number, std::string* out) {
  out->append(std::to_string(number));
}

// Texts and integers, one after the other. (absl::StrCat takes no std::string_view where Abseil was
// built as C++14, as Debian's is.)
std::string Concat(const auto&... parts) {
  std::string out;
  (AppendPart(parts, &out), ...);
  return out;
}

// Hash of any string type, so that maps with std::string keys are searched by std::string_view
// (with std::equal_to<>).
struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};

}  // namespace thinkwire::worker::text
