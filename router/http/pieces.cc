#include "router/http/pieces.h"

#include <algorithm>

namespace thinkwire::router::http {
namespace {

constexpr std::size_t kTokenBytes = 128;  // of a token with its probability, about
constexpr char kOpen[] = "<think>\n";
constexpr char kClose[] = "</think>\n\n";

template <class Delta>
std::vector<PieceToken> TokensOf(const Delta& delta) {
  std::vector<PieceToken> tokens;
  const int number = std::min(delta.token_ids_size(), delta.logprobs_size());
  for (int i = 0; i < number; ++i) tokens.push_back({delta.token_ids(i), delta.logprobs(i)});
  return tokens;
}

void Append(const std::vector<PieceToken>& from, std::vector<PieceToken>& to) {
  to.insert(to.end(), from.begin(), from.end());
}

}  // namespace

std::size_t Piece::bytes() const {
  return reasoning.size() + content.size() +
         kTokenBytes * (reasoning_tokens.size() + content_tokens.size());
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
  switch (event.event_case()) {
    case v1::GenerateResponse::kStarted:
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
    if (!output.thinks && !prompt_thinks_) piece.content = kOpen;
    piece.content += delta.text();
    if (form_.logprobs) piece.content_tokens = TokensOf(delta);
  } else if (form_.reasoning != ReasoningForm::kHidden) {
    piece.reasoning = delta.text();
    if (form_.logprobs) piece.reasoning_tokens = TokensOf(delta);
  }
  output.thinks = true;
  return piece;
}

Piece PieceReader::EndReasoning(const v1::ReasoningFinished& finished) {
  Piece piece{.output = finished.output_index()};
  if (is_inline() && !finished.token_ids().empty()) piece.content = kClose;
  return piece;
}

Piece PieceReader::ReadAnswer(const v1::AnswerDelta& delta) const {
  Piece piece{.output = delta.output_index(), .content = delta.text()};
  if (form_.logprobs) piece.content_tokens = TokensOf(delta);
  return piece;
}

}  // namespace thinkwire::router::http
