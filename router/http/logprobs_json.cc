#include "router/http/logprobs_json.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/utf8.h"
#include "router/http/json_text.h"

namespace thinkwire::router::http {
namespace {

// JSON has no infinity: OpenAI's own "as good as never".
float Finite(float logprob) { return std::max(logprob, -9999.0F); }

// As JSON. `part`: how the name of a part of a character begins.
std::string NameOf(std::int32_t id, const std::string& token, std::string_view part = "") {
  if (token.empty()) return absl::StrCat("\"token_id:", id, "\"");
  if (IsValidUtf8(token)) return JsonString(token);
  std::string name(part);
  for (const char byte : token) {
    absl::StrAppendFormat(&name, "\\x%02x", static_cast<unsigned char>(byte));
  }
  return JsonString(name);
}

std::string BytesJson(std::string_view bytes, std::string_view none) {
  if (bytes.empty()) return std::string(none);
  const auto append = [](std::string* out, char byte) {
    absl::StrAppend(out, static_cast<int>(static_cast<unsigned char>(byte)));
  };
  return absl::StrCat("[", absl::StrJoin(bytes, ",", append), "]");
}

// {"token": …, up to what may follow its bytes, as JSON.
void AppendToken(std::int32_t id, const std::string& token, float logprob, const std::string& bytes,
                 std::string* out) {
  absl::StrAppend(out, R"({"token":)", NameOf(id, token), R"(,"logprob":)", Finite(logprob),
                  R"(,"bytes":)", bytes);
}

std::string AlternativesJson(const PieceToken& token, std::string_view no_bytes) {
  return absl::StrJoin(token.logprob.alternatives(), ",",
                       [&](std::string* out, const v1::TokenAlternative& other) {
                         AppendToken(other.token_id(), other.token(), other.logprob(),
                                     BytesJson(other.token(), no_bytes), out);
                         out->push_back('}');
                       });
}

constexpr char kPart[] = "bytes:";

std::string AlternativesMap(const PieceToken& token) {
  const std::string all = absl::StrJoin(
      token.logprob.alternatives(), ",", [](std::string* out, const v1::TokenAlternative& other) {
        absl::StrAppend(out, NameOf(other.token_id(), other.token(), kPart), ":",
                        Finite(other.logprob()));
      });
  return absl::StrCat("{", all, "}");
}

}  // namespace

std::string TokensJson(const std::vector<PieceToken>& tokens, std::string_view no_bytes) {
  const auto append = [&](std::string* out, const PieceToken& token) {
    AppendToken(token.id, token.logprob.token(), token.logprob.logprob(),
                BytesJson(token.text(), no_bytes), out);
    absl::StrAppend(out, R"(,"top_logprobs":[)", AlternativesJson(token, no_bytes), "]}");
  };
  return absl::StrCat("[", absl::StrJoin(tokens, ",", append), "]");
}

std::string ChatLogprobsJson(const std::vector<PieceToken>& content,
                             const std::vector<PieceToken>& reasoning) {
  const std::string of_reasoning =
      reasoning.empty() ? "" : absl::StrCat(R"(,"reasoning_content":)", TokensJson(reasoning));
  return absl::StrCat(R"({"content":)", TokensJson(content), R"(,"refusal":null)", of_reasoning,
                      "}");
}

std::string CompletionLogprobsJson(const std::vector<PieceToken>& tokens,
                                   std::int64_t text_offset) {
  const auto join = [&](auto append) { return absl::StrJoin(tokens, ",", append); };
  return absl::StrCat(R"({"tokens":[)", join([](std::string* out, const PieceToken& t) {
                        out->append(NameOf(t.id, t.logprob.token(), kPart));
                      }),
                      R"(],"token_logprobs":[)", join([](std::string* out, const PieceToken& t) {
                        absl::StrAppend(out, Finite(t.logprob.logprob()));
                      }),
                      R"(],"top_logprobs":[)", join([](std::string* out, const PieceToken& t) {
                        out->append(AlternativesMap(t));
                      }),
                      R"(],"text_offset":[)", join([&](std::string* out, const PieceToken& t) {
                        absl::StrAppend(out, text_offset);
                        text_offset += t.num_characters();
                      }),
                      "]}");
}

}  // namespace thinkwire::router::http
