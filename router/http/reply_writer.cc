#include "router/http/reply_writer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/strings.h"
#include "router/http/json_text.h"
#include "router/http/logprobs_json.h"
#include "router/http/reply_json.h"

namespace thinkwire::router::http {
namespace {

constexpr char kDone[] = "data: [DONE]\n\n";

std::string Event(std::string_view json) { return absl::StrCat("data: ", View(json), "\n\n"); }

// As JSON, with its quotes.
std::string FinishJson(const std::optional<v1::FinishReason>& finish) {
  return finish ? absl::StrCat("\"", View(FinishReasonText(*finish)), "\"") : "null";
}

}  // namespace

ReplyWriter::ReplyWriter(const ReplyForm& form, const std::string& id, std::int64_t created)
    : form_(form),
      id_(absl::StrCat(form.chat ? "chatcmpl-" : "cmpl-", id)),
      created_(created),
      reader_(form) {}

std::string ReplyWriter::Take(const v1::GenerateResponse& event) {
  Piece piece = reader_.Read(event);
  if (event.has_started()) {
    NoteStarted(event.started());
    return form_.stream ? RoleChunk(0) : "";
  }
  if (event.has_completed()) {
    usage_ = UsageJson(event.completed().usage());
    return form_.stream ? End(event.completed().usage()) : "";
  }
  if (piece.empty()) return "";
  if (form_.stream) return TakePiece(piece);
  Keep(piece);
  return "";
}

void ReplyWriter::NoteStarted(const v1::Started& started) {
  model_ = started.variant();
  form_.Settle(model_);
  fingerprint_ = started.fingerprint();
  extension_ = absl::StrCat(R"(,"thinkwire":)", ExtensionJson(started));
  object_ = Object(form_.chat ? "chat.completion.chunk" : "text_completion");
}

// {"id": …, up to its choices.
std::string ReplyWriter::Object(std::string_view name) const {
  return absl::StrCat(R"({"id":)", JsonString(id_), R"(,"object":")", View(name), R"(","created":)",
                      created_, R"(,"model":)", JsonString(model_), R"(,"system_fingerprint":)",
                      JsonString(fingerprint_), R"(,"choices":[)");
}

ReplyWriter::Output& ReplyWriter::OutputOf(std::int32_t index) {
  const auto place = static_cast<std::size_t>(std::max(0, index));
  if (place >= outputs_.size()) outputs_.resize(place + 1);
  return outputs_[place];
}

std::string ReplyWriter::TakePiece(const Piece& piece) {
  std::string text;
  if (!OutputOf(piece.output).begun) text = RoleChunk(piece.output);
  return text + Event(Chunk(piece.output, Delta(piece), piece));
}

// As OpenAI's first chunk of an output; a completion's has no role to tell.
std::string ReplyWriter::RoleChunk(std::int32_t output) {
  OutputOf(output).begun = true;
  const std::string extension = std::exchange(extension_, "");
  if (!form_.chat && extension.empty()) return "";
  const std::string delta =
      form_.chat ? R"("delta":{"role":"assistant","content":""})" : R"("text":"")";
  std::string chunk = Chunk(output, delta, {});
  chunk.insert(chunk.size() - 1, extension);
  return Event(chunk);
}

std::string ReplyWriter::Chunk(std::int32_t output, const std::string& delta,
                               const Piece& piece) const {
  return absl::StrCat(object_, R"({"index":)", output, ",", delta, R"(,"logprobs":)",
                      Logprobs(piece), R"(,"finish_reason":)", FinishJson(piece.finish), "}]",
                      form_.include_usage ? R"(,"usage":null})" : "}");
}

std::string ReplyWriter::Delta(const Piece& piece) const {
  if (!form_.chat) return absl::StrCat(R"("text":)", JsonString(piece.content));
  std::string delta = R"("delta":{)";
  if (!piece.reasoning.empty()) AppendReasoning(form_.reasoning, piece.reasoning, &delta);
  if (!piece.content.empty()) {
    if (!piece.reasoning.empty()) delta.push_back(',');
    delta += R"("content":)";
    AppendJsonString(piece.content, &delta);
  }
  return delta + "}";
}

std::string ReplyWriter::Logprobs(const Piece& piece) const {
  if (!form_.logprobs || (piece.content_tokens.empty() && piece.reasoning_tokens.empty())) {
    return "null";
  }
  return form_.chat ? ChatLogprobsJson(piece.content_tokens, piece.reasoning_tokens)
                    : CompletionLogprobsJson(piece.content_tokens, piece.text_offset);
}

std::string ReplyWriter::End(const v1::Usage& usage) const {
  if (!form_.include_usage) return kDone;
  return Event(absl::StrCat(object_, R"(],"usage":)", UsageJson(usage), "}")) + kDone;
}

std::string ReplyWriter::Waiting(std::int32_t position) const {
  return absl::StrCat(": queued ", position, "\n\n");
}

std::string ReplyWriter::Failure(std::string_view error) const { return Event(error); }

void ReplyWriter::Keep(const Piece& piece) {
  OutputOf(piece.output).all.Add(piece);
  bytes_ += piece.bytes();
}

std::string ReplyWriter::Choice(std::size_t index) const {
  const Piece& all = outputs_[index].all;
  std::string choice = absl::StrCat(R"({"index":)", index, ",");
  if (form_.chat) {
    choice += R"("message":{"role":"assistant","content":)";
    AppendJsonString(all.content, &choice);
    choice += R"(,"refusal":null)";
    if (!all.reasoning.empty()) {
      choice.push_back(',');
      AppendReasoning(form_.reasoning, all.reasoning, &choice);
    }
    choice.push_back('}');
  } else {
    choice += R"("text":)";
    AppendJsonString(all.content, &choice);
  }
  absl::StrAppend(&choice, R"(,"logprobs":)", Logprobs(all), R"(,"finish_reason":)",
                  FinishJson(all.finish), "}");
  return choice;
}

std::string ReplyWriter::Whole() const {
  std::string whole = Object(form_.chat ? "chat.completion" : "text_completion");
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    if (i > 0) whole.push_back(',');
    whole += Choice(i);
  }
  return absl::StrCat(whole, R"(],"usage":)", usage_, extension_, "}");
}

}  // namespace thinkwire::router::http
