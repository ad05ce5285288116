#include "router/http/responses_writer.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "common/strings.h"
#include "router/http/json_text.h"
#include "router/http/logprobs_json.h"
#include "router/http/reply_json.h"

namespace thinkwire::router::http {
namespace {

using Json = nlohmann::json;

std::string EventText(std::string_view type, std::int64_t number, std::string_view members) {
  return absl::StrCat("event: ", View(type), "\ndata: {\"type\":\"", View(type),
                      "\",\"sequence_number\":", number, ",", View(members), "}\n\n");
}

// The Responses API has names of its own for the same counts.
std::string ResponseUsageJson(const v1::Usage& usage) {
  const std::int64_t output = std::int64_t{usage.reasoning_tokens()} + usage.answer_tokens();
  return absl::StrCat(R"({"input_tokens":)", usage.prompt_tokens(),
                      R"(,"input_tokens_details":{"cached_tokens":)", usage.cached_prompt_tokens(),
                      R"(},"output_tokens":)", output,
                      R"(,"output_tokens_details":{"reasoning_tokens":)", usage.reasoning_tokens(),
                      R"(},"total_tokens":)", usage.prompt_tokens() + output, "}");
}

std::string ItemMembers(int index, std::string_view item) {
  return absl::StrCat(R"("output_index":)", index, R"(,"item":)", View(item));
}

std::string PartMember(std::string_view part) { return absl::StrCat(R"("part":)", View(part)); }

// Clients look for a list of bytes even where there are none.
std::string LogprobsJson(const Piece& piece) { return TokensJson(piece.content_tokens, "[]"); }

}  // namespace

ResponsesWriter::ResponsesWriter(const ReplyForm& form, const std::string& id, std::int64_t created)
    : form_(form), id_(id), created_(created), reader_(form) {}

std::string ResponsesWriter::Take(const v1::GenerateResponse& event) {
  const Piece piece = reader_.Read(event);
  if (event.has_started()) return Begin(event.started());
  std::string out;
  if (event.has_completed()) {
    usage_ = ResponseUsageJson(event.completed().usage());
    Tell(absl::StrCat("response.", status()),
         absl::StrCat(R"("response":)", Response(status(), "null")), &out);
  } else if (!piece.empty()) {
    TakePiece(piece, &out);
  }
  return out;
}

std::string ResponsesWriter::Begin(const v1::Started& started) {
  started_ = started;
  std::string out;
  const std::string response = absl::StrCat(R"("response":)", Response("in_progress", "null"));
  Tell("response.created", response, &out);
  Tell("response.in_progress", response, &out);
  return out;
}

void ResponsesWriter::TakePiece(const Piece& piece, std::string* out) {
  if (!piece.reasoning.empty()) AddReasoning(piece, out);
  if (!piece.content.empty() || !piece.content_tokens.empty()) AddContent(piece, out);
  if (!piece.finish) return;
  is_cut_ = FinishReasonText(*piece.finish) == "length";
  EndReasoning(out);
  // A response without any text has an empty message, unless there was no room for one.
  if (message_ == Item::kNone && !is_cut_) AddContent({}, out);
  EndMessage(out);
}

void ResponsesWriter::AddReasoning(const Piece& piece, std::string* out) {
  if (reasoning_ == Item::kNone) {
    reasoning_ = Item::kOpen;
    Tell("response.output_item.added", ItemMembers(0, ReasoningItem()), out);
    TellReasoning("part.added", PartMember(ReasoningPart("")), out);
  }
  all_.reasoning += piece.reasoning;
  bytes_ += piece.reasoning.size();
  TellReasoning("text.delta", absl::StrCat(R"("delta":)", JsonString(piece.reasoning)), out);
}

void ResponsesWriter::EndReasoning(std::string* out) {
  if (reasoning_ != Item::kOpen) return;
  TellReasoning("text.done", absl::StrCat(R"("text":)", JsonString(all_.reasoning)), out);
  TellReasoning("part.done", PartMember(ReasoningPart(all_.reasoning)), out);
  reasoning_ = Item::kDone;
  Tell("response.output_item.done", ItemMembers(0, ReasoningItem()), out);
}

void ResponsesWriter::AddContent(const Piece& piece, std::string* out) {
  EndReasoning(out);
  if (message_ == Item::kNone) {
    Tell("response.output_item.added", ItemMembers(message_index(), MessageItem()), out);
    TellMessage("response.content_part.added", PartMember(MessagePart()), out);
    message_ = Item::kOpen;
  }
  if (piece.content.empty() && piece.content_tokens.empty()) return;
  all_.content += piece.content;
  all_.content_tokens.insert(all_.content_tokens.end(), piece.content_tokens.begin(),
                             piece.content_tokens.end());
  bytes_ += piece.bytes();
  TellMessage("response.output_text.delta",
              absl::StrCat(R"("delta":)", JsonString(piece.content), R"(,"logprobs":)",
                           LogprobsJson(piece)),
              out);
}

void ResponsesWriter::EndMessage(std::string* out) {
  if (message_ != Item::kOpen) return;
  TellMessage(
      "response.output_text.done",
      absl::StrCat(R"("text":)", JsonString(all_.content), R"(,"logprobs":)", LogprobsJson(all_)),
      out);
  TellMessage("response.content_part.done", PartMember(MessagePart()), out);
  message_ = Item::kDone;
  Tell("response.output_item.done", ItemMembers(message_index(), MessageItem()), out);
}

void ResponsesWriter::Tell(std::string_view type, std::string_view members, std::string* out) {
  if (form_.stream) out->append(EventText(type, num_events_++, members));
}

void ResponsesWriter::TellReasoning(std::string_view what, std::string_view members,
                                    std::string* out) {
  // A part of the content has no name of its own.
  const bool of_content = !form_.summary && what.starts_with("part");
  const char* const subject = of_content      ? "content_"
                              : form_.summary ? "reasoning_summary_"
                                              : "reasoning_";
  Tell(absl::StrCat("response.", subject, View(what)),
       absl::StrCat(R"("item_id":)", JsonString("rs_" + id_), R"(,"output_index":0,")",
                    form_.summary ? "summary" : "content", R"(_index":0,)", View(members)),
       out);
}

void ResponsesWriter::TellMessage(std::string_view type, std::string_view members,
                                  std::string* out) {
  Tell(type,
       absl::StrCat(R"("item_id":)", JsonString("msg_" + id_), R"(,"output_index":)",
                    message_index(), R"(,"content_index":0,)", View(members)),
       out);
}

std::string ResponsesWriter::ReasoningPart(std::string_view text) const {
  return absl::StrCat(R"({"type":")", form_.summary ? "summary" : "reasoning", R"(_text","text":)",
                      JsonString(text), "}");
}

// Empty until it is done.
std::string ResponsesWriter::ReasoningItem() const {
  const bool done = reasoning_ == Item::kDone;
  const std::string parts = done ? ReasoningPart(all_.reasoning) : "";
  return absl::StrCat(R"({"id":)", JsonString("rs_" + id_), R"(,"type":"reasoning","summary":[)",
                      form_.summary ? parts : "", R"(],"content":[)", form_.summary ? "" : parts,
                      R"(],"encrypted_content":null,"status":")",
                      !done                                ? "in_progress"
                      : is_cut_ && message_ == Item::kNone ? "incomplete"
                                                           : "completed",
                      "\"}");
}

std::string ResponsesWriter::MessagePart() const {
  return absl::StrCat(R"({"type":"output_text","text":)", JsonString(all_.content),
                      R"(,"annotations":[],"logprobs":)", LogprobsJson(all_), "}");
}

// Likewise.
std::string ResponsesWriter::MessageItem() const {
  const bool done = message_ == Item::kDone;
  return absl::StrCat(R"({"id":)", JsonString("msg_" + id_), R"(,"type":"message","status":")",
                      done ? status() : "in_progress", R"(","role":"assistant","content":[)",
                      done ? MessagePart() : "", "]}");
}

std::string ResponsesWriter::OutputJson() const {
  const std::string reasoning = reasoning_ == Item::kDone ? ReasoningItem() : "";
  const std::string message = message_ == Item::kDone ? MessageItem() : "";
  const char* const between = reasoning.empty() || message.empty() ? "" : ",";
  return absl::StrCat("[", reasoning, between, message, "]");
}

// `error`: its object, or null.
std::string ResponsesWriter::Response(std::string_view status, std::string_view error) const {
  const v1::PhaseSampling& sampling = started_.answer_sampling();
  const char* const reason = status == "incomplete" ? R"({"reason":"max_output_tokens"})" : "null";
  return absl::StrCat(
      R"({"id":)", JsonString("resp_" + id_), R"(,"object":"response","created_at":)", created_,
      R"(,"status":")", View(status), R"(","background":false,"error":)", View(error),
      R"(,"incomplete_details":)", reason, R"(,"instructions":null,"max_output_tokens":)",
      started_.limits().max_tokens(), R"(,"model":)", JsonString(started_.variant()),
      R"(,"output":)", OutputJson(),
      R"(,"parallel_tool_calls":true,"previous_response_id":null,"store":false,"temperature":)",
      sampling.temperature(), R"(,"tool_choice":"auto","tools":[],"top_p":)", sampling.top_p(),
      R"(,"truncation":"disabled","usage":)", usage_, R"(,"metadata":{},"system_fingerprint":)",
      JsonString(started_.fingerprint()), R"(,"thinkwire":)", ExtensionJson(started_), "}");
}

std::string ResponsesWriter::Waiting(std::int32_t position) const {
  return absl::StrCat(": queued ", position, "\n\n");
}

// The response has failed, and then the error, at which OpenAI's own clients fail too.
std::string ResponsesWriter::Failure(std::string_view error) const {
  const Json told = Json::parse(error)["error"];
  const std::string code = told["code"].dump();
  const std::string message = told["message"].dump();
  const std::string failed = absl::StrCat(R"({"code":"server_error","message":)", message, "}");
  return absl::StrCat(
      EventText("response.failed", num_events_,
                absl::StrCat(R"("response":)", Response("failed", failed))),
      EventText("error", num_events_ + 1,
                absl::StrCat(R"("code":)", code, R"(,"message":)", message, R"(,"param":)",
                             told["param"].dump(), R"(,"error":)", told.dump())));
}

}  // namespace thinkwire::router::http
