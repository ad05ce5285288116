#include "router/http/ollama_writer.h"

#include <google/protobuf/util/time_util.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/strings.h"
#include "router/http/json_text.h"
#include "router/http/logprobs_json.h"
#include "router/http/ollama_models.h"
#include "router/http/reply_json.h"

namespace thinkwire::router::http {
namespace {

std::int64_t Nanoseconds(const google::protobuf::Duration& duration) {
  return google::protobuf::util::TimeUtil::DurationToNanoseconds(duration);
}

std::string MetricsJson(const v1::Completed& completed) {
  const v1::Usage& usage = completed.usage();
  const v1::Timings& timings = completed.timings();
  return absl::StrCat(
      R"("total_duration":)", Nanoseconds(timings.total()), R"(,"load_duration":)",
      Nanoseconds(timings.queue()), R"(,"prompt_eval_count":)", usage.prompt_tokens(),
      R"(,"prompt_eval_duration":)", Nanoseconds(timings.prefill()), R"(,"eval_count":)",
      std::int64_t{usage.reasoning_tokens()} + usage.answer_tokens(), R"(,"eval_duration":)",
      Nanoseconds(timings.reasoning()) + Nanoseconds(timings.answer()));
}

}  // namespace

OllamaWriter::OllamaWriter(const ReplyForm& form, const std::string& model, std::int64_t created)
    : form_(form), created_at_(JsonTime(created)), reader_(form), model_(model) {}

std::string OllamaWriter::Take(const v1::GenerateResponse& event) {
  Piece piece = reader_.Read(event);
  if (event.has_started()) {
    model_ = event.started().variant();
    extension_ = absl::StrCat(R"(,"thinkwire":)", ExtensionJson(event.started()));
  }
  if (event.has_completed()) {
    end_ = End(event.completed());
    return form_.stream ? absl::StrCat(Object({}), end_, "\n") : "";
  }
  if (piece.finish) all_.finish = std::exchange(piece.finish, std::nullopt);
  if (piece.empty()) return "";
  if (form_.stream) return Line(piece);
  all_.Add(piece);
  bytes_ += piece.bytes();
  return "";
}

std::string OllamaWriter::Line(const Piece& piece) const {
  return absl::StrCat(Object(piece), R"("done":false})", "\n");
}

std::string OllamaWriter::Object(const Piece& piece) const {
  std::string json = R"({"model":)";
  AppendJsonString(model_, &json);
  absl::StrAppend(
      &json, R"(,"created_at":)", created_at_,
      form_.message ? R"(,"message":{"role":"assistant","content":)" : R"(,"response":)");
  AppendJsonString(piece.content, &json);
  if (!piece.reasoning.empty()) {
    json += R"(,"thinking":)";
    AppendJsonString(piece.reasoning, &json);
  }
  if (form_.message) json.push_back('}');
  std::vector<PieceToken> tokens = piece.reasoning_tokens;
  tokens.insert(tokens.end(), piece.content_tokens.begin(), piece.content_tokens.end());
  if (!tokens.empty()) absl::StrAppend(&json, R"(,"logprobs":)", TokensJson(tokens));
  return json + ",";
}

std::string OllamaWriter::End(const v1::Completed& completed) const {
  const std::string_view reason =
      FinishReasonText(all_.finish.value_or(v1::FINISH_REASON_UNSPECIFIED));
  return absl::StrCat(R"("done":true,"done_reason":")", View(reason), "\",", MetricsJson(completed),
                      extension_, "}");
}

std::string OllamaWriter::Failure(std::string_view error) const {
  return absl::StrCat(View(error), "\n");
}

}  // namespace thinkwire::router::http
