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

// Ollama's answers: a JSON object a line, of which the last is `done` and has counts and
// durations, in nanoseconds; or one object with all. The reasoning is `thinking`. `model` is the
// variant; before one is chosen, what the request asked for. load_duration is the time that the
// request waited for a place, which is what a model that is being loaded makes it do at Ollama.
// Threads: one at a time.
class OllamaWriter final : public AnswerWriter {
 public:
  OllamaWriter(const ReplyForm& form, const std::string& model, std::int64_t created);

  // AnswerWriter. JSON lines have no comments: what says that all is well is an empty piece.
  const char* media_type() const override { return "application/x-ndjson"; }
  std::string Take(const v1::GenerateResponse& event) override;
  std::string Waiting(std::int32_t /*position*/) const override { return ""; }
  std::string KeepAlive() const override { return Line({}); }
  std::string Failure(std::string_view error) const override;
  std::string Whole() const override { return Object(all_) + end_; }
  std::size_t bytes() const override { return bytes_; }

 private:
  std::string Line(const Piece& piece) const;
  // All up to "done".
  std::string Object(const Piece& piece) const;
  // All from there.
  std::string End(const v1::Completed& completed) const;

  const ReplyForm form_;
  const std::string created_at_;  // as JSON
  PieceReader reader_;
  std::string model_;
  std::string extension_;  // what Ollama's answers have no place for
  Piece all_;              // where the form is whole; else only its finish
  std::string end_;
  std::size_t bytes_ = 0;
};

}  // namespace thinkwire::router::http
