#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "router/http/reply_form.h"
#include "thinkwire/v1/reasoning.pb.h"

namespace thinkwire::router::http {

// A token with its probability, or a tag that this client finds in the text without one: -1.
struct PieceToken {
  std::int32_t id = 0;
  v1::TokenLogprob logprob{};

  // What it adds to the text; it may be a part of a character.
  std::string_view text() const;
  // That begin in it.
  std::int64_t num_characters() const;
};

// What one event adds to one output, as this client wants to read it.
struct Piece {
  std::int32_t output = 0;
  std::string reasoning{};  // apart from the content
  std::string content{};
  std::vector<PieceToken> reasoning_tokens{};  // empty unless asked for
  std::vector<PieceToken> content_tokens{};
  std::int64_t text_offset = 0;  // characters of the output's content_tokens before these
  std::optional<v1::FinishReason> finish{};

  // Of its texts and tokens, about.
  std::size_t bytes() const;
  // What `next` has comes behind what is there.
  void Add(const Piece& next);
  bool empty() const {
    return reasoning.empty() && content.empty() && reasoning_tokens.empty() &&
           content_tokens.empty() && !finish;
  }
};

// Makes pieces of a stream's events. Where the reasoning is inline it stands between <think> and
// </think> with the line feeds that the model's template has, and the first tag is left out if the
// prompt has it. Each tag is then one of the content's tokens: the one that closed the reasoning
// with its probability, one that this door has put there with 1. Threads: one at a time.
class PieceReader {
 public:
  explicit PieceReader(const ReplyForm& form) : form_(form) {}

  // Empty for events that are of no output.
  Piece Read(const v1::GenerateResponse& event);

 private:
  struct Output {
    bool thinks = false;              // its reasoning has begun
    std::int64_t num_characters = 0;  // of its content_tokens
  };
  Piece ReadEvent(const v1::GenerateResponse& event);
  Piece ReadReasoning(const v1::ReasoningDelta& delta);
  Piece ReadAnswer(const v1::AnswerDelta& delta) const;
  Piece EndReasoning(const v1::ReasoningFinished& finished) const;
  bool is_inline() const { return !form_.chat || form_.reasoning == ReasoningForm::kInline; }
  Output& OutputOf(std::int32_t index);

  ReplyForm form_;
  bool prompt_thinks_ = false;  // a raw prompt ends in reasoning
  std::vector<Output> outputs_;
};

}  // namespace thinkwire::router::http
