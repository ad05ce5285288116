#include "router/http/reply_json.h"

#include "absl/strings/str_cat.h"
#include "router/http/json_text.h"

namespace thinkwire::router::http {

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
