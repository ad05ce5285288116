#include "worker/text/tokenize_command.h"

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/bounded_input.h"
#include "common/input_limits.h"
#include "common/json.h"
#include "common/status.h"

namespace thinkwire::worker::text {
namespace {

absl::StatusOr<std::string> ParseLine(const std::string& line) {
  // Invalid UTF-8 and lone surrogates are no JSON either.
  ASSIGN_OR_RETURN(const nlohmann::json request, ParseJson(line, "holds no request"));
  if (!request.is_object()) {
    return absl::InvalidArgumentError("is not a JSON object like {\"text\": \"…\"}");
  }
  const auto text = request.find("text");
  if (text == request.end()) return absl::InvalidArgumentError("has no member \"text\"");
  if (!text->is_string()) return absl::InvalidArgumentError("\"text\" is not a string");
  return text->get<std::string>();
}

}  // namespace

absl::Status RunTokenize(const Tokenizer& tokenizer, bool as_user_text, std::istream& in,
                         std::ostream& out) {
  std::string line;
  for (std::int64_t number = 1;; ++number) {
    const absl::StatusOr<bool> more = ReadLine(in, kMaxTokenizeLineBytes, line);
    if (!more.ok()) return Annotate(more.status(), absl::StrCat("line ", number));
    if (!*more) break;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const absl::StatusOr<std::string> text = ParseLine(line);
    if (!text.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("line ", number, " ", std::string(text.status().message())));
    }
    const std::vector<std::int32_t> ids =
        as_user_text ? tokenizer.EncodeUserText(*text) : tokenizer.Encode(*text);
    out << "{\"ids\": [" << absl::StrJoin(ids, ", ") << "]}\n" << std::flush;
    if (!out) {
      return absl::UnavailableError(
          absl::StrCat("cannot write the answer to line ", number, ": ", std::strerror(errno)));
    }
  }
  if (in.bad())
    return absl::UnavailableError(absl::StrCat("cannot read the input: ", std::strerror(errno)));
  return absl::OkStatus();
}

}  // namespace thinkwire::worker::text
