#include "router/http/pieces.h"

#include <algorithm>

namespace thinkwire::router::http {
namespace {

constexpr std::size_t kTokenBytes = 128;  // of a token with its probability, about
constexpr std::size_t kAlternativeBytes = 96;
constexpr char kOpen[] = "<think>\n";
constexpr char kClose[] = "</think>\n\n";

template <class Delta>
std::vector<PieceToken> TokensOf(const Delta& delta) {
  std::vector<PieceToken> tokens;
  const int number = std::min(delta.token_ids_size(), delta.logprobs_size());
  for (int i = 0; i < number; ++i) tokens.push_back({delta.token_ids(i), delta.logprobs(i)});
  return tokens;
}

std::size_t BytesOf(const std::vector<PieceToken>& tokens) {
  std::size_t bytes = 0;
  for (const PieceToken& token : tokens) {
    const auto alternatives = static_cast<std::size_t>(token.logprob.alternatives_size());
    bytes += kTokenBytes + alternatives * kAlternativeBytes;
  }
  return bytes;
}

// A tag in the text.
PieceToken TagOf(std::string_view text) {
  PieceToken tag{.id = -1};
  tag.logprob.set_token(std::string(text));
  return tag;
}

void Append(const std::vector<PieceToken>& from, std::vector<PieceToken>& to) {
  to.insert(to.end(), from.begin(), from.end());
}

}  // namespace

std::string_view PieceToken::text() const {
  const std::string_view all = logprob.token();
  return all.substr(std::min(all.size(), static_cast<std::size_t>(logprob.silent_bytes())));
}

std::int64_t PieceToken::num_characters() const {
  return std::ranges::count_if(
      text(), [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0) != 0x80; });
}

std::size_t Piece::bytes() const {
  return reasoning.size() + content.size() + BytesOf(reasoning_tokens) + BytesOf(content_tokens);
}

void Piece::Add(const Piece& next) {
  reasoning += next.reasoning;
  content += next.content;
  Append(next.reasoning_tokens, reasoning_tokens);
  Append(next.content_tokens, content_tokens);
  if (next.finish) finish = next.finish;
}

PieceReader::Output& PieceReader::OutputOf(std::int32_t index) {
  const auto place = static_cast<std::size_t>(std::max(0, index));
  if (place >= outputs_.size()) outputs_.resize(place + 1);
  return outputs_[place];
}

Piece PieceReader::Read(const v1::GenerateResponse& event) {
  Piece piece = ReadEvent(event);
  if (piece.content_tokens.empty()) return piece;
  std::int64_t& num_characters = OutputOf(piece.output).num_characters;
  piece.text_offset = num_characters;
  for (const PieceToken& token : piece.content_tokens) num_characters += token.num_characters();
  return piece;
}

Piece PieceReader::ReadEvent(const v1::GenerateResponse& event) {
  switch (event.event_case()) {
    case v1::GenerateResponse::kStarted:
      form_.Settle(event.started().variant());
      prompt_thinks_ = !form_.chat && event.started().first_phase() == v1::PHASE_REASONING;
      return {};
    case v1::GenerateResponse::kReasoningDelta:
      return ReadReasoning(event.reasoning_delta());
    case v1::GenerateResponse::kReasoningFinished:
      return EndReasoning(event.reasoning_finished());
    case v1::GenerateResponse::kAnswerDelta:
      return ReadAnswer(event.answer_delta());
    case v1::GenerateResponse::kFinished:
      return {.output = event.finished().output_index(), .finish = event.finished().reason()};
    default:
      return {};
  }
}

Piece PieceReader::ReadReasoning(const v1::ReasoningDelta& delta) {
  Piece piece{.output = delta.output_index()};
  Output& output = OutputOf(delta.output_index());
  if (is_inline()) {
    const bool opens = !output.thinks && !prompt_thinks_;
    if (opens) piece.content = kOpen;
    piece.content += delta.text();
    if (form_.logprobs && opens) piece.content_tokens = {TagOf(kOpen)};
    if (form_.logprobs) Append(TokensOf(delta), piece.content_tokens);
  } else if (form_.reasoning != ReasoningForm::kHidden) {
    piece.reasoning = delta.text();
    if (form_.logprobs) piece.reasoning_tokens = TokensOf(delta);
  }
  output.thinks = true;
  return piece;
}

Piece PieceReader::EndReasoning(const v1::ReasoningFinished& finished) const {
  Piece piece{.output = finished.output_index()};
  if (!is_inline() || finished.token_ids().empty()) return piece;
  piece.content = kClose;
  if (!form_.logprobs) return piece;
  piece.content_tokens = {TagOf(kClose)};
  piece.content_tokens[0].id = finished.token_ids(0);
  if (finished.logprobs_size() > 0) {
    v1::TokenLogprob& tag = piece.content_tokens[0].logprob;
    tag.set_logprob(finished.logprobs(0).logprob());
    *tag.mutable_alternatives() = finished.logprobs(0).alternatives();
  }
  return piece;
}

Piece PieceReader::ReadAnswer(const v1::AnswerDelta& delta) const {
  Piece piece{.output = delta.output_index(), .content = delta.text()};
  if (form_.logprobs) piece.content_tokens = TokensOf(delta);
  return piece;
}

}  // namespace thinkwire::router::http
