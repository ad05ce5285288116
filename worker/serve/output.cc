#include "worker/serve/output.h"

#include <utility>

#include "common/peer_limits.h"

namespace thinkwire::worker::serve {
namespace {

// Of a full outbox, what becomes events at once: as little as the engine needs to see how fast the
// reader is (ReaderPace), and still a message for many tokens.
constexpr std::size_t kMaxTokensTaken = kOutboxTokens / 4;

}  // namespace

Output::Output(engine::Engine& engine, std::unique_ptr<OutputEvents> events,
               std::function<void()> on_ready)
    : engine_(engine),
      was_over_(events->finished()),
      tokens_(std::make_shared<engine::TokenStream>(kOutboxTokens, std::move(on_ready))),
      events_(std::move(events)),
      answers_(!events_->may_reason()) {}

bool Output::Submit(std::span<const std::unique_ptr<Output>> outputs,
                    std::vector<engine::Request> requests) {
  std::vector<Output*> submitted;
  std::vector<engine::Engine::Arrival> arrivals;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    if (outputs[i]->was_over_) continue;
    submitted.push_back(outputs[i].get());
    // A copy, as the first tokens may come, and even the last, before this returns.
    arrivals.push_back({.request = std::move(requests[i]), .stream = outputs[i]->tokens_});
  }
  if (arrivals.empty()) return false;
  const auto handles = submitted.front()->engine_.SubmitTogether(std::move(arrivals));
  for (std::size_t i = 0; i < submitted.size(); ++i) {
    if (handles.ok()) {
      submitted[i]->OnSubmitted((*handles)[i]);
    } else {
      submitted[i]->OnSubmitted(handles.status());
    }
  }
  return handles.ok();
}

void Output::OnSubmitted(const absl::StatusOr<engine::RequestHandle>& handle) {
  bool cancelled = false;
  bool answers_now = false;
  {
    MutexLock lock(mu_);
    if (handle.ok()) {
      handle_ = *handle;
    } else {
      refusal_ = handle.status();
    }
    cancelled = cancelled_;
    answers_now = answers_now_;
  }
  if (handle.ok() && cancelled) engine_.Cancel(*handle);
  if (handle.ok() && answers_now) engine_.AnswerNow(*handle);
}

void Output::Cancel() {
  {
    MutexLock lock(mu_);
    cancelled_ = true;
  }
  if (const auto handle = Handle()) engine_.Cancel(*handle);
}

bool Output::AnswerNow() {
  {
    MutexLock lock(mu_);
    if (std::exchange(answers_, true)) return false;
    answers_now_ = true;
  }
  if (const auto handle = Handle()) engine_.AnswerNow(*handle);
  return true;
}

void Output::NoteAnswer() {
  if (!ended() && events_->may_reason()) return;
  MutexLock lock(mu_);
  answers_ = true;
}

std::optional<engine::RequestHandle> Output::Handle() {
  MutexLock lock(mu_);
  return handle_;
}

std::optional<absl::Status> Output::Refusal() {
  MutexLock lock(mu_);
  return refusal_;
}

std::optional<Output::News> Output::Take(Clock::TimePoint now) {
  if (ended()) return std::nullopt;
  if (was_over_) return TakeWhatWasUnsent();
  refused_ = Refusal();
  if (refused_) {
    tokens_.reset();
    return News{};
  }
  engine::TokenStream::Batch batch = tokens_->Take(kMaxTokensTaken);
  if (batch.empty()) return std::nullopt;
  if (batch.makes_room) engine_.Wake();
  News news{.queue_position = batch.queue_position,
            .started = batch.started,
            .cached_prompt_tokens = batch.cached_prompt_tokens,
            .tokens = {},
            .events = {},
            .more = batch.more};
  const OutputEvents::Counts before = counts();
  events_->Add(batch.tokens, now, &news.events);
  if (batch.ending) {
    ending_ = *batch.ending;
    tokens_.reset();
    events_->End(ending_.reason, now, &news.events);
  } else if (finished()) {
    FinishInEngine();
  }
  NoteAnswer();
  for (const step::Phase phase : step::kPhases) {
    news.tokens[phase] = counts().tokens[phase] - before.tokens[phase];
  }
  return news;
}

Output::News Output::TakeWhatWasUnsent() {
  tokens_.reset();
  ending_.generated_tokens = counts().total();
  News news;
  news.started = true;
  news.events = events_->TakeUnsent();
  return news;
}

std::optional<engine::Silence> Output::silence() const {
  return ended() || finished() ? std::nullopt : tokens_->silence();
}

bool Output::too_slow() const {
  return ended() ? ending_.reason == engine::EndReason::kSlowReader : tokens_->ends_as_too_slow();
}

void Output::FinishInEngine() {
  const auto handle = Handle();
  if (handle && !std::exchange(finish_told_, true)) engine_.Finish(*handle);
}

std::int32_t Output::discarded_tokens() const {
  return ending_.generated_tokens - counts().total();
}

}  // namespace thinkwire::worker::serve
