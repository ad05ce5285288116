#include "router/counting.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "common/log.h"
#include "common/peer_limits.h"
#include "common/rpc/status_details.h"
#include "common/status.h"
#include "router/query.h"

namespace thinkwire::router {
namespace {

constexpr std::chrono::seconds kLimit{30};

}  // namespace

void Counting::Start(const Shared& shared, fleet::CallContext context,
                     v1::CountTokensRequest request, std::shared_ptr<CountSink> sink) {
  shared.retries.Deposit();
  const std::shared_ptr<Counting> counting(
      new Counting(shared, std::move(context), std::move(request), std::move(sink)));
  if (counting->request_.ByteSizeLong() <= kLongPromptBytes) return counting->Begin();
  shared.turns.Take(counting->context_.peer, [counting](CountTurns::Turn turn) {
    counting->turn_ = std::move(turn);
    if (!counting->sink_->IsWanted()) return counting->End(absl::CancelledError("nobody waits"));
    counting->Begin();
  });
}

void Counting::Begin() {
  if (const absl::Status status = Lease(); !status.ok()) return End(status);
  Ask();
}

Counting::Counting(const Shared& shared, fleet::CallContext context, v1::CountTokensRequest request,
                   std::shared_ptr<CountSink> sink)
    : shared_(shared), context_(std::move(context)), sink_(std::move(sink)) {
  const Clock::TimePoint limit = shared_.clock.Now() + kLimit;
  context_.deadline = std::min(context_.deadline.value_or(limit), limit);
  *request_.mutable_request() = std::move(request);
}

// A place on a worker that was not tried yet.
absl::Status Counting::Lease() {
  decision::Query query = MakeQuery(request_.request());
  query.tried = attempts_.tried();
  ASSIGN_OR_RETURN(fleet::WorkerLease lease, shared_.pool.Lease(shared_.policy, query));
  lease_.emplace(std::move(lease));
  lease_->Answered();  // counts bring no signs of life, by whose absence it could be judged
  attempts_.Begin(lease_->decision().worker);
  return absl::OkStatus();
}

void Counting::Ask() {
  lease_->client().CountTokens(
      request_, context_,
      [self = shared_from_this()](const fleet::WorkerClient::CountResult& result) {
        self->OnAnswer(result);
      });
}

void Counting::OnAnswer(const fleet::WorkerClient::CountResult& result) {
  lease_->Ended(result.status());
  if (result.ok()) {
    End(MakeCount(*result));
    return;
  }
  attempts_.Fail(result.status());
  if (!TryAnother(result.status())) End(attempts_.Best());
}

// Asks another worker, after `status`. False: nobody is asked.
bool Counting::TryAnother(const absl::Status& status) {
  const bool is_over = !sink_->IsWanted() || shared_.clock.Now() >= *context_.deadline;
  if (is_over || !attempts_.MayGoOn() || !shared_.retries.Withdraw()) return false;
  const std::string reason = rpc::ErrorReason(status);
  const std::string left = lease_->client().address();
  lease_.reset();  // no load of that worker any more
  if (!Lease().ok()) return false;
  shared_.metrics.CountRetry(shared_.variants[lease_->decision().variant].name, reason);
  LogWarning("count retried", {{"traceparent", context_.traceparent},
                               {"reason", reason},
                               {"worker", left},
                               {"next_worker", lease_->client().address()}});
  Ask();
  return true;
}

v1::CountTokensResponse Counting::MakeCount(const v1::WorkerCountTokensResponse& answer) const {
  v1::CountTokensResponse count;
  count.set_variant(shared_.variants[lease_->decision().variant].name);
  count.set_prompt_tokens(answer.prompt_tokens());
  *count.mutable_token_ids() = answer.token_ids();
  count.set_max_model_len(answer.max_model_len());
  return count;
}

void Counting::End(const absl::StatusOr<v1::CountTokensResponse>& count) {
  lease_.reset();
  turn_ = {};  // before the sink has its end, after which what all share may go
  sink_->Finish(count);
}

}  // namespace thinkwire::router
