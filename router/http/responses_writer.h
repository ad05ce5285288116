#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "router/http/answer_writer.h"
#include "router/http/pieces.h"
#include "router/http/reply_form.h"
#include "thinkwire/v1/reasoning.pb.h"

namespace thinkwire::router::http {

// Answers of OpenAI's Responses API: a response of at most two items, the reasoning and the
// message, as the events that build it or as the one object. The reasoning is the first item's
// content, or where the request asks for a summary, which nobody writes here, in its place. A
// response that a limit cut is "incomplete". Its events end with the whole response once more, so
// that a stream's texts are kept too. Threads: one at a time.
class ResponsesWriter final : public AnswerWriter {
 public:
  // `id` is the request's, `created` in seconds of Unix time.
  ResponsesWriter(const ReplyForm& form, const std::string& id, std::int64_t created);

  // AnswerWriter.
  const char* media_type() const override { return "text/event-stream; charset=utf-8"; }
  std::string Take(const v1::GenerateResponse& event) override;
  std::string Waiting(std::int32_t position) const override;
  std::string KeepAlive() const override { return ": keep-alive\n\n"; }
  std::string Failure(std::string_view error) const override;
  std::string Whole() const override { return Response(status(), "null"); }
  std::size_t bytes() const override { return bytes_; }

 private:
  // Where an item is.
  enum class Item : std::uint8_t { kNone, kOpen, kDone };

  std::string Begin(const v1::Started& started);
  void TakePiece(const Piece& piece, std::string* out);
  void AddReasoning(const Piece& piece, std::string* out);
  void AddContent(const Piece& piece, std::string* out);
  void EndReasoning(std::string* out);
  void EndMessage(std::string* out);
  // An event of these members; nothing where the form is whole.
  void Tell(std::string_view type, std::string_view members, std::string* out);
  // Of a part of the reasoning, "part.added" and the like, and of the message.
  void TellReasoning(std::string_view what, std::string_view members, std::string* out);
  void TellMessage(std::string_view type, std::string_view members, std::string* out);

  // The items as they are now, and their one part.
  std::string ReasoningItem() const;
  std::string MessageItem() const;
  std::string ReasoningPart(std::string_view text) const;
  std::string MessagePart() const;
  std::string OutputJson() const;
  std::string Response(std::string_view status, std::string_view error) const;
  const char* status() const { return is_cut_ ? "incomplete" : "completed"; }
  int message_index() const { return reasoning_ == Item::kNone ? 0 : 1; }

  const ReplyForm form_;
  const std::string id_;
  const std::int64_t created_;
  PieceReader reader_;
  v1::Started started_;
  Item reasoning_ = Item::kNone;
  Item message_ = Item::kNone;
  Piece all_;
  bool is_cut_ = false;  // by a limit
  std::string usage_ = "null";
  std::int64_t num_events_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace thinkwire::router::http
