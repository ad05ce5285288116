#include "router/http/json_text.h"

#include "absl/strings/str_format.h"
#include "common/utf8.h"

namespace thinkwire::router::http {
namespace {

void AppendEscaped(char c, std::string* out) {
  switch (c) {
    case '"':
      out->append("\\\"");
      return;
    case '\\':
      out->append("\\\\");
      return;
    case '\n':
      out->append("\\n");
      return;
    case '\t':
      out->append("\\t");
      return;
    case '\r':
      out->append("\\r");
      return;
    default:
      absl::StrAppendFormat(out, "\\u%04x", static_cast<unsigned int>(c));
  }
}

bool NeedsEscape(char c) { return c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20; }

}  // namespace

void AppendJsonString(std::string_view text, std::string* out) {
  if (!IsValidUtf8(text)) return AppendJsonString(ReplaceInvalidUtf8(text), out);
  out->push_back('"');
  std::size_t begin = 0;  // of what needs no escape
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (!NeedsEscape(text[i])) continue;
    out->append(text, begin, i - begin);
    AppendEscaped(text[i], out);
    begin = i + 1;
  }
  out->append(text, begin);
  out->push_back('"');
}

std::string JsonString(std::string_view text) {
  std::string out;
  AppendJsonString(text, &out);
  return out;
}

}  // namespace thinkwire::router::http
