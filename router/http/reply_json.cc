#include "router/http/reply_json.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "router/http/json_text.h"

namespace thinkwire::router::http {
namespace {

std::string TokenName(std::int32_t id) { return absl::StrCat("\"token_id:", id, "\""); }

// JSON has no infinity: OpenAI's own "as good as never".
float Finite(float logprob) { return std::max(logprob, -9999.0F); }

std::string AlternativesJson(const PieceToken& token) {
  return absl::StrJoin(
      token.logprob.alternatives(), ",", [](std::string* out, const v1::TokenAlternative& other) {
        absl::StrAppend(out, R"({"token":)", TokenName(other.token_id()), R"(,"logprob":)",
                        Finite(other.logprob()), R"(,"bytes":null})");
      });
}

std::string AlternativesMap(const PieceToken& token) {
  const std::string all = absl::StrJoin(
      token.logprob.alternatives(), ",", [](std::string* out, const v1::TokenAlternative& other) {
        absl::StrAppend(out, TokenName(other.token_id()), ":", Finite(other.logprob()));
      });
  return absl::StrCat("{", all, "}");
}

}  // namespace

std::string_view FinishReasonText(v1::FinishReason reason) {
  const bool cut = reason == v1::FINISH_REASON_LENGTH || reason == v1::FINISH_REASON_LOOP;
  return cut ? "length" : "stop";
}

std::string UsageJson(const v1::Usage& usage) {
  const std::int64_t completion = std::int64_t{usage.reasoning_tokens()} + usage.answer_tokens();
  return absl::StrCat(R"({"prompt_tokens":)", usage.prompt_tokens(), R"(,"completion_tokens":)",
                      completion, R"(,"total_tokens":)", usage.prompt_tokens() + completion,
                      R"(,"completion_tokens_details":{"reasoning_tokens":)",
                      usage.reasoning_tokens(), R"(},"prompt_tokens_details":{"cached_tokens":)",
                      usage.cached_prompt_tokens(), "}}");
}

void AppendReasoning(ReasoningForm form, std::string_view text, std::string* out) {
  if (form != ReasoningForm::kReasoning) {
    out->append(R"("reasoning_content":)");
    AppendJsonString(text, out);
  }
  if (form == ReasoningForm::kBoth) out->push_back(',');
  if (form != ReasoningForm::kReasoningContent) {
    out->append(R"("reasoning":)");
    AppendJsonString(text, out);
  }
}

std::string TokensJson(const std::vector<PieceToken>& tokens) {
  const std::string all = absl::StrJoin(tokens, ",", [](std::string* out, const PieceToken& token) {
    absl::StrAppend(out, R"({"token":)", TokenName(token.id), R"(,"logprob":)",
                    Finite(token.logprob.logprob()), R"(,"bytes":null,"top_logprobs":[)",
                    AlternativesJson(token), "]}");
  });
  return absl::StrCat("[", all, "]");
}

std::string ChatLogprobsJson(const std::vector<PieceToken>& content,
                             const std::vector<PieceToken>& reasoning) {
  const std::string of_reasoning =
      reasoning.empty() ? "" : absl::StrCat(R"(,"reasoning_content":)", TokensJson(reasoning));
  return absl::StrCat(R"({"content":)", TokensJson(content), R"(,"refusal":null)", of_reasoning,
                      "}");
}

std::string CompletionLogprobsJson(const std::vector<PieceToken>& tokens) {
  const auto join = [&](auto append) { return absl::StrJoin(tokens, ",", append); };
  return absl::StrCat(
      R"({"tokens":[)",
      join([](std::string* out, const PieceToken& t) { out->append(TokenName(t.id)); }),
      R"(],"token_logprobs":[)", join([](std::string* out, const PieceToken& t) {
        absl::StrAppend(out, Finite(t.logprob.logprob()));
      }),
      R"(],"top_logprobs":[)",
      join([](std::string* out, const PieceToken& t) { out->append(AlternativesMap(t)); }),
      R"(],"text_offset":[]})");
}

std::string ExtensionJson(const v1::Started& started) {
  std::string json = R"({"variant_reason":)";
  AppendJsonString(started.variant_reason(), &json);
  json += R"(,"worker_reason":)";
  AppendJsonString(started.worker_reason(), &json);
  absl::StrAppend(&json, R"(,"seed":)", started.seed(), R"(,"max_tokens":)",
                  started.limits().max_tokens(), "}");
  return json;
}

}  // namespace thinkwire::router::http
