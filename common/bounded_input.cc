#include "common/bounded_input.h"

#include <optional>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace thinkwire {
namespace {

// Reads up to `end` or the end of `in`; whether `end` was there.
absl::StatusOr<bool> ReadUntil(std::istream& in, std::optional<char> end, std::size_t max_bytes,
                               std::string& text) {
  text.clear();
  for (int c = in.get(); c != std::istream::traits_type::eof(); c = in.get()) {
    if (end && static_cast<char>(c) == *end) return true;
    if (text.size() == max_bytes) {
      return absl::InvalidArgumentError(absl::StrCat("more than ", max_bytes, " bytes"));
    }
    text += static_cast<char>(c);
  }
  return false;
}

}  // namespace

absl::StatusOr<bool> ReadLine(std::istream& in, std::size_t max_bytes, std::string& line) {
  ASSIGN_OR_RETURN(const bool ended, ReadUntil(in, '\n', max_bytes, line));
  return ended || !line.empty();
}

absl::StatusOr<std::string> ReadToEnd(std::istream& in, std::size_t max_bytes) {
  std::string text;
  RETURN_IF_ERROR(ReadUntil(in, std::nullopt, max_bytes, text).status());
  return text;
}

}  // namespace thinkwire
