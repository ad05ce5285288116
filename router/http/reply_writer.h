#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "router/http/answer_writer.h"
#include "router/http/pieces.h"
#include "router/http/reply_form.h"
#include "thinkwire/v1/reasoning.pb.h"

namespace thinkwire::router::http {

// OpenAI's answers: chat.completion.chunk (or text_completion) objects as server-sent events, or
// the one object that all of them make. Threads: one at a time.
class ReplyWriter final : public AnswerWriter {
 public:
  // `id` is the request's, `created` in seconds of Unix time.
  ReplyWriter(const ReplyForm& form, const std::string& id, std::int64_t created);

  // AnswerWriter.
  const char* media_type() const override { return "text/event-stream; charset=utf-8"; }
  std::string Take(const v1::GenerateResponse& event) override;
  std::string Waiting(std::int32_t position) const override;
  std::string KeepAlive() const override { return ": keep-alive\n\n"; }
  std::string Failure(std::string_view error) const override;
  std::string Whole() const override;
  std::size_t bytes() const override { return bytes_; }

 private:
  struct Output {
    Piece all{};
    bool begun = false;  // a chunk has said the role
  };
  void NoteStarted(const v1::Started& started);
  std::string TakePiece(const Piece& piece);
  std::string Chunk(std::int32_t output, const std::string& delta, const Piece& piece) const;
  std::string RoleChunk(std::int32_t output);
  std::string End(const v1::Usage& usage) const;
  void Keep(const Piece& piece);
  Output& OutputOf(std::int32_t index);
  std::string Delta(const Piece& piece) const;
  std::string Logprobs(const Piece& piece) const;
  std::string Choice(std::size_t index) const;
  std::string Object(std::string_view name) const;

  const ReplyForm form_;
  const std::string id_;
  const std::int64_t created_;
  PieceReader reader_;
  std::string object_;     // how chunks begin, up to the choices
  std::string extension_;  // of the first chunk
  std::vector<Output> outputs_;
  std::string usage_;
  std::string model_;
  std::string fingerprint_;
  std::size_t bytes_ = 0;
};

}  // namespace thinkwire::router::http
