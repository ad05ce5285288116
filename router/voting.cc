#include "router/voting.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/rpc/num_outputs.h"
#include "common/rpc/output_index.h"
#include "common/rpc/status_details.h"
#include "common/status.h"

namespace thinkwire::router {
namespace {

using consensus::AnswerKind;

AnswerKind KindOf(const v1::GenerateRequest& request) {
  switch (request.answer_format().kind_case()) {
    case v1::AnswerFormat::kJsonSchema:
      return AnswerKind::kJson;
    case v1::AnswerFormat::kRegex:
    case v1::AnswerFormat::kChoices:
      return AnswerKind::kExact;
    case v1::AnswerFormat::KIND_NOT_SET:
      break;
  }
  return AnswerKind::kFree;
}

double AgreementOf(const v1::Consensus& consensus) {
  return consensus.has_agreement() ? double{consensus.agreement()} : 1;
}

absl::Status HeldTooMuch(const std::string& message) {
  return rpc::Error(absl::StatusCode::kResourceExhausted, "HELD_TOO_MUCH", message);
}

absl::Status RequestHoldsTooMuch() {
  return HeldTooMuch(absl::StrCat("the outputs of a consensus may hold ", kMaxHeldBytes,
                                  " bytes until they have voted, and these hold more: fewer of "
                                  "them, or a smaller max_tokens, hold less"));
}

absl::Status AllHoldTooMuch(const rpc::Shares& all) {
  return rpc::WithRetryAfter(HeldTooMuch(
      absl::StrCat("the outputs of a consensus are held until they have voted: those of all "
                   "requests hold ",
                   all.held(), " of ", all.total(), " bytes, or their client its share")));
}

bool Answers(v1::FinishReason reason) {
  return reason == v1::FINISH_REASON_END || reason == v1::FINISH_REASON_STOP_STRING ||
         reason == v1::FINISH_REASON_STOP_TOKEN;
}

// As far as the ledger knows; nothing of one that has not begun.
Ledger::Output OutputOf(const Ledger& ledger, std::int32_t index) {
  const auto found = ledger.outputs().find(index);
  return found == ledger.outputs().end() ? Ledger::Output() : found->second;
}

}  // namespace

Voting::Voting(const v1::GenerateRequest& request, rpc::Shares* all, const std::string& peer)
    : kind_(KindOf(request)),
      outputs_(rpc::NumOutputs(request)),
      vote_(rpc::NumOutputs(request), AgreementOf(request.consensus())),
      all_(all) {
  if (all != nullptr) counted_ = all->TakeBeyond(peer, 0);
}

void Voting::AskForOutputs(v1::GenerateRequest& request) {
  request.set_n(request.consensus().max_samples());
  request.clear_consensus();
}

bool Voting::Holds(const v1::GenerateResponse& event) {
  return event.has_reasoning_delta() || event.has_reasoning_finished() ||
         event.has_answer_delta() || event.has_finished() || event.has_completed();
}

absl::Status Voting::Add(const v1::GenerateResponse& event, Clock::TimePoint now) {
  if (event.has_completed()) {
    discarded_tokens_ = event.completed().usage().discarded_tokens();
    return absl::OkStatus();
  }
  if (!began_) began_ = now;
  const auto index = static_cast<std::size_t>(rpc::OutputIndexOf(event));
  CHECK(index < outputs_.size() && !outputs_[index].finished, "the contract was checked");
  Output& output = outputs_[index];
  const std::size_t before = output.events.bytes();
  output.events.Add(event);
  if (event.has_answer_delta()) {
    if (!output.answer_began) output.answer_began = now;
    output.answer_ended = now;
  }
  RETURN_IF_ERROR(CountBytes(before, output.events));
  if (event.has_finished()) AddFinished(event.finished());
  return absl::OkStatus();
}

void Voting::AddFinished(const v1::Finished& finished) {
  const auto index = static_cast<std::size_t>(finished.output_index());
  ++num_ended_;
  outputs_[index].finished = finished;
  vote_.Add(index, AnswerOf(outputs_[index]));
  DropLosers();
}

std::optional<std::string> Voting::AnswerOf(const Output& output) const {
  const bool answers =
      output.finished->phase() == v1::PHASE_ANSWER && Answers(output.finished->reason());
  if (!answers) return std::nullopt;
  return consensus::NormaliseAnswer(output.events.AnswerText(), kind_);
}

void Voting::DropLosers() {
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    if (vote_.MayWin(i)) continue;
    bytes_ -= outputs_[i].events.bytes();
    outputs_[i].events.Clear();
    bytes_ += outputs_[i].events.bytes();
  }
  if (counted_) counted_->Shrink(static_cast<std::int64_t>(bytes_));
}

// It grows by doubling, so that the others are seldom asked.
absl::Status Voting::CountBytes(std::size_t before, const HeldEvents& events) {
  if (events.bytes() == before) return absl::OkStatus();
  bytes_ += events.bytes() - before;
  if (bytes_ > kMaxHeldBytes) return RequestHoldsTooMuch();
  const bool fits = !counted_ || counted_->Resize(static_cast<std::int64_t>(bytes_));
  return fits ? absl::OkStatus() : AllHoldTooMuch(*all_);
}

HeldEvents Voting::TakeEvents(const Ledger& ledger) {
  HeldEvents events = std::move(outputs_[vote_.winner()].events);
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    if (i != vote_.winner()) events.Add(MakeFinished(i, ledger));
  }
  return events;
}

v1::GenerateResponse Voting::MakeFinished(std::size_t index, const Ledger& ledger) const {
  v1::GenerateResponse event;
  v1::Finished& finished = *event.mutable_finished();
  if (outputs_[index].finished) {
    finished = *outputs_[index].finished;
    finished.clear_token_ids();
    finished.clear_logprobs();
    return event;
  }
  const Ledger::Output output = OutputOf(ledger, static_cast<std::int32_t>(index));
  const auto tokens = static_cast<std::int32_t>(output.token_ids.size());
  finished.set_output_index(static_cast<std::int32_t>(index));
  finished.set_reason(v1::FINISH_REASON_NOT_NEEDED);
  finished.set_phase(output.phase == v1::PHASE_ANSWER ? v1::PHASE_ANSWER : v1::PHASE_REASONING);
  finished.mutable_tokens()->set_reasoning_tokens(output.reasoning_tokens);
  finished.mutable_tokens()->set_answer_tokens(tokens - output.reasoning_tokens);
  return event;
}

v1::Completed Voting::MakeCompleted(const Ledger& ledger) const {
  v1::Completed completed;
  const Ledger::Output output = OutputOf(ledger, winner());
  const auto tokens = static_cast<std::int64_t>(output.token_ids.size());
  v1::Usage& usage = *completed.mutable_usage();
  usage = ledger.MakeUsage();
  usage.set_reasoning_tokens(output.reasoning_tokens);
  usage.set_answer_tokens(static_cast<std::int32_t>(tokens) - output.reasoning_tokens);
  usage.set_forced_tokens(output.forced_tokens);
  usage.set_discarded_tokens(discarded_tokens_ +
                             static_cast<std::int32_t>(ledger.tokens() - tokens));
  for (const consensus::Ballot& ballot : vote_.ballots()) {
    v1::Vote& vote = *completed.add_votes();
    vote.set_answer(ballot.answer);
    for (const std::size_t index : ballot.outputs) {
      vote.add_output_indexes(static_cast<std::int32_t>(index));
    }
  }
  return completed;
}

std::optional<Clock::Duration> Voting::answer_time() const {
  const Output& output = outputs_[vote_.winner()];
  if (!output.answer_began) return std::nullopt;
  return output.answer_ended - *output.answer_began;
}

std::string_view Voting::outcome() const {
  if (!vote_.HasVoted(vote_.winner())) return "no_answer";
  if (all_have_ended()) return "all";
  return vote_.has_quorum() ? "agreement" : "certain";
}

std::string_view Voting::FateOf(std::size_t output) const {
  if (output == vote_.winner()) return "winner";
  if (!outputs_[output].finished) return "not_needed";
  if (!vote_.HasVoted(output)) return "no_answer";
  return vote_.Agrees(output) ? "agreed" : "differed";
}

}  // namespace thinkwire::router
