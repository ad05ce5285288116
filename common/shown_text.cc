#include "common/shown_text.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "common/utf8.h"

namespace thinkwire {

std::string ShownText(std::string_view text, std::size_t max_bytes) {
  return absl::Utf8SafeCEscape(CutText(text, max_bytes));
}

std::string ShownLine(std::string_view message, std::size_t max_bytes) {
  std::string line = CutText(message, max_bytes);
  std::ranges::replace_if(
      line, [](char c) { return absl::ascii_iscntrl(static_cast<unsigned char>(c)); }, '?');
  return line;
}

}  // namespace thinkwire
