// Generation's part in AnswerNow. A worker finds a request once it has spoken of it, or a moment
// later; what it is told before that, or as it is lost, is told again with the next event.

#include <memory>
#include <optional>
#include <utility>

#include "common/peer_limits.h"
#include "common/rpc/status_details.h"
#include "router/generation.h"

namespace thinkwire::router {

void Generation::AnswerNow(std::optional<std::int32_t> output, fleet::AnswerNowDone on_done) {
  const std::int32_t outputs = answer_wishes_.Ask(output);
  std::shared_ptr<fleet::WorkerAttempt> attempt;
  bool over = false;
  {
    MutexLock lock(mu_);
    over = cancelled_ || ended_.has_value();
    if (found_) attempt = attempt_;
    if (attempt == nullptr) passes_wishes_ = true;
  }
  if (over) return on_done(0);
  if (attempt == nullptr || answer_wishes_.Open().empty()) return on_done(outputs);
  attempt->AnswerNow(
      MakeAnswerNow(output), context_,
      [self = shared_from_this(), outputs, on_done = std::move(on_done)](const auto& told) {
        if (told.ok()) return on_done(*told);
        // It has just ended, and another worker will hear; or it will find it with the next event.
        const bool again = self->PassAnswerWishesAgain();
        if (again && absl::IsNotFound(told.status())) return on_done(outputs);
        on_done(rpc::WithRetryAfter(rpc::Error(absl::StatusCode::kUnavailable, "WORKER_LOST",
                                               "the request's worker could not be asked")));
      });
}

v1::WorkerAnswerNowRequest Generation::MakeAnswerNow(std::optional<std::int32_t> output) const {
  v1::WorkerAnswerNowRequest request;
  request.set_request_id(request_id_);
  if (output) request.set_output_index(*output);
  return request;
}

void Generation::PassAnswerWishes() {
  std::shared_ptr<fleet::WorkerAttempt> attempt;
  {
    MutexLock lock(mu_);
    found_ = true;
    passes_wishes_ = false;
    attempt = attempt_;
  }
  for (const std::optional<std::int32_t> output : answer_wishes_.Open()) {
    attempt->AnswerNow(MakeAnswerNow(output), context_,
                       [self = shared_from_this()](const auto& told) {
                         if (!told.ok()) self->PassAnswerWishesAgain();
                       });
  }
}

bool Generation::PassAnswerWishesAgain() {
  MutexLock lock(mu_);
  if (++answer_now_tries_ > kMaxAnswerNowTries) return false;
  passes_wishes_ = true;
  return true;
}

}  // namespace thinkwire::router
