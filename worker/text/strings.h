#pragma once

#include <concepts>
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

}  // namespace thinkwire::worker::text
