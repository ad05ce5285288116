#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace thinkwire {

// Of a name, a value or a pattern that a message repeats: enough to know it again.
inline constexpr std::size_t kMaxShownBytes = 120;

// `text` from outside as a message repeats it: its first `max_bytes` at most, with "..." where that
// is not all, in valid UTF-8, and with quotes, backslashes and whatever does not print escaped, so
// that it stays between the quotes that the message puts around it.
std::string ShownText(std::string_view text, std::size_t max_bytes = kMaxShownBytes);

// A whole message as one line of valid UTF-8, cut likewise: control characters become '?'.
std::string ShownLine(std::string_view message, std::size_t max_bytes);

}  // namespace thinkwire
