#pragma once

#include <cstddef>
#include <functional>
#include <string_view>

#include "absl/strings/string_view.h"

namespace thinkwire {

// `text` for Abseil's functions. Debian's Abseil is built as C++14, so that its string_view is a
// type of its own, which std::string_view does not become by itself.
inline absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

// Hash of any string type, so that maps with std::string keys are searched by std::string_view
// (with std::equal_to<>).
struct StringHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const {
    return std::hash<std::string_view>()(text);
  }
};

}  // namespace thinkwire
