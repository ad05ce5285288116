#include "router/answering.h"

#include <utility>
#include <vector>

#include "common/rpc/status_details.h"
#include "router/generation.h"

namespace thinkwire::router {
namespace {

absl::Status NotFound() {
  return rpc::Error(absl::StatusCode::kNotFound, "REQUEST_NOT_FOUND",
                    "no request of that id and of whoever asks runs");
}

absl::Status NotAsked(const char* reason, const char* what) {
  return rpc::WithRetryAfter(rpc::Error(absl::StatusCode::kUnavailable, reason, what));
}

constexpr char kNotAllAsked[] = "some worker could not be asked";

absl::Status TooMany() {
  return rpc::WithRetryAfter(rpc::Error(absl::StatusCode::kResourceExhausted, "TOO_MANY_CALLS",
                                        "too many workers are asked for requests now"));
}

std::optional<std::int32_t> OutputOf(const v1::AnswerNowRequest& request) {
  return request.has_output_index() ? std::optional(request.output_index()) : std::nullopt;
}

v1::WorkerAnswerNowRequest MakeQuestion(const v1::AnswerNowRequest& request) {
  v1::WorkerAnswerNowRequest question;
  question.set_request_id(request.request_id());
  if (request.has_output_index()) question.set_output_index(request.output_index());
  return question;
}

}  // namespace

void Answering::Start(const Shared& shared, const fleet::CallContext& context,
                      const v1::AnswerNowRequest& request, fleet::AnswerNowDone on_done) {
  const std::shared_ptr<Generation> own = shared.registry.Find(request.request_id());
  if (own != nullptr && own->tenant() == context.tenant) {
    return own->AnswerNow(OutputOf(request), std::move(on_done));
  }
  std::vector<std::shared_ptr<fleet::WorkerClient>> workers = shared.pool.Speaking();
  if (workers.empty()) return on_done(NotAsked("NO_LIVE_WORKER", "no live worker could be asked"));
  auto held = shared.worker_calls.Take(context.peer, static_cast<std::int64_t>(workers.size()));
  if (!held) return on_done(TooMany());
  // One more, so that the workers are let go of before anybody is told.
  const std::shared_ptr<Answering> answering(
      new Answering(shared, *std::move(held), workers.size() + 1, std::move(on_done)));
  const v1::WorkerAnswerNowRequest question = MakeQuestion(request);
  for (const auto& worker : workers) {
    worker->AnswerNow(question, context,
                      [answering](const auto& outputs) { answering->Hear(outputs); });
  }
  workers.clear();
  answering->Hear(NotFound());
}

Answering::Answering(const Shared& shared, rpc::Shares::Held held, std::size_t num_asked,
                     fleet::AnswerNowDone on_done)
    : is_only_router_(shared.num_routers <= 1),
      running_(shared.running.Begin()),
      held_(std::move(held)),
      num_left_(num_asked),
      on_done_(std::move(on_done)) {}

// A router knows its own queue alone.
absl::Status Answering::Unknown() const {
  if (is_only_router_) return NotFound();
  return NotAsked("REQUEST_NOT_SEEN",
                  "no worker has such a request of whoever asks; it may wait at another router");
}

void Answering::Hear(const absl::StatusOr<std::int32_t>& outputs) {
  rpc::CallCount::Token last_token;  // given back when all is done
  fleet::AnswerNowDone on_done;
  absl::StatusOr<std::int32_t> result = outputs;
  {
    MutexLock lock(mu_);
    failed_ |= !outputs.ok() && !absl::IsNotFound(outputs.status());
    const bool last = --num_left_ == 0;
    if (last) held_ = {};
    if (last) last_token = std::move(running_);
    if (!last && !outputs.ok()) return;
    if (!outputs.ok()) result = failed_ ? NotAsked("WORKER_LOST", kNotAllAsked) : Unknown();
    on_done.swap(on_done_);
  }
  if (on_done) on_done(result);
}

}  // namespace thinkwire::router
