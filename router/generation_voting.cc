// Generation's part in a consensus. The outputs of all attempts are held back; once their vote is
// over the attempt ends, and the client is told the winner as fast as it reads.

#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>

#include "common/rpc/proto_time.h"
#include "router/generation.h"

namespace thinkwire::router {
namespace {

// Between two words to a client who asks why the stream is silent.
constexpr std::chrono::milliseconds kProgressInterval{500};

}  // namespace

void Generation::BeginVoting(v1::GenerateRequest& request) {
  voting_ = std::make_unique<Voting>(request, shared_.held_bytes, context_.peer);
  Voting::AskForOutputs(request);
}

void Generation::Hold(const v1::GenerateResponse& event, Clock::TimePoint now) {
  voting_failure_ = voting_->Add(event, now);
  CountHeldBytes(static_cast<std::int64_t>(voting_->bytes()));
  account_.CountHeld(event, now);
  const bool goes_on = !voting_->is_over() || voting_->all_have_ended();
  if (goes_on && voting_failure_.ok()) return TellThatItVotes(now);
  std::shared_ptr<fleet::WorkerAttempt> attempt;
  {
    MutexLock lock(mu_);
    attempt = attempt_;
  }
  attempt->Cancel();  // it brings nothing any more but its end
}

void Generation::CountHeldBytes(std::int64_t bytes) {
  shared_.metrics.AddHeld(bytes - std::exchange(counted_held_bytes_, bytes));
}

// One that finds no room says nothing that matters.
void Generation::TellThatItVotes(Clock::TimePoint now) {
  if (!request_.request().progress() || voting_->is_over()) return;
  if (said_voting_ && now - *said_voting_ < kProgressInterval) return;
  said_voting_ = now;
  v1::GenerateResponse event;
  v1::Progress& progress = *event.mutable_progress();
  progress.set_reason(v1::SILENCE_REASON_VOTING);
  progress.set_computed_tokens(static_cast<std::int32_t>(ledger_.tokens()));
  progress.set_total_tokens(progress.computed_tokens());
  MutexLock lock(mu_);
  if (!cancelled_ && waiting_.empty()) sink_->Write(event);
}

void Generation::TellVote() {
  const Clock::TimePoint now = shared_.clock.Now();
  v1::GenerateResponse last;
  *last.mutable_completed() = CompleteVote(now);
  HeldEvents events = voting_->TakeEvents(ledger_);
  events.Add(last);
  {
    MutexLock lock(mu_);
    told_ = std::move(events);
    told_at_ = now;
  }
  Conclude(absl::OkStatus());
}

v1::Completed Generation::CompleteVote(Clock::TimePoint now) const {
  v1::Completed completed = voting_->MakeCompleted(ledger_);
  completed.set_resumes(account_.moves());
  v1::Timings& timings = *completed.mutable_timings();
  const Clock::Duration queue = account_.queue_time(now);
  rpc::SetDuration(queue, timings.mutable_queue());
  const Clock::TimePoint began = voting_->began().value_or(arrival_ + queue);
  rpc::SetDuration(began - arrival_ - queue, timings.mutable_prefill());
  const auto winner = ledger_.outputs().find(voting_->winner());
  if (winner != ledger_.outputs().end() && winner->second.reasoning_tokens > 0) {
    rpc::SetDuration(winner->second.reasoning_time, timings.mutable_reasoning());
  }
  if (const auto answer = voting_->answer_time()) {
    rpc::SetDuration(*answer, timings.mutable_answer());
  }
  rpc::SetDuration(now - arrival_, timings.mutable_total());
  return completed;
}

// The winner's counts as told at once, as it was there.
bool Generation::TakeTold() {
  if (cancelled_) told_.Clear();
  std::optional<v1::GenerateResponse> event = told_.Next();
  if (!event) return false;
  const bool of_loser =
      event->has_finished() && event->finished().output_index() != voting_->winner();
  if (!of_loser) account_.Count(*event, told_at_);
  waiting_.Add(*std::move(event));
  return true;
}

void Generation::CountVote(const absl::Status& status) {
  if (!ledger_.started()) return;
  account_.DiscardBeyond(ledger_.tokens());
  const bool is_over = status.ok() && voting_->is_over();
  shared_.metrics.CountVote(account_.variant(), is_over ? voting_->outcome() : "unfinished");
  for (std::size_t i = 0; is_over && i < voting_->num_outputs(); ++i) {
    shared_.metrics.CountVoter(account_.variant(), voting_->FateOf(i));
  }
}

// Where a vote ends with an error, nothing of the outputs was sent.
v1::Usage Generation::MakeUsage() const {
  v1::Usage usage = ledger_.MakeUsage();
  if (!voting_) return usage;
  usage.set_discarded_tokens(usage.reasoning_tokens() + usage.answer_tokens());
  usage.clear_reasoning_tokens();
  usage.clear_answer_tokens();
  usage.clear_forced_tokens();
  return usage;
}

}  // namespace thinkwire::router
