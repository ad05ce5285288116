#include "common/stream_metrics.h"

#include <prometheus/counter.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include "common/check.h"

namespace thinkwire {
namespace {

using Buckets = prometheus::Histogram::BucketBoundaries;

// A bucket is a time series of each variant and phase, on each process: as many as quantiles and
// goodput need to be told within a factor of two or so, and what people promise is a bound (0.5 s,
// 1 s, 2.5 s to the first token; 25, 50, 100 ms a token).

// Seconds, up to an hour: so long may one think, or wait.
const Buckets kDurations = {0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1,    2.5,
                            5,    10,    20,   40,  120,  600, 1800, 3600};
// Seconds a token.
const Buckets kTokenTimes = {0.001, 0.002, 0.004, 0.006, 0.01, 0.015, 0.025,
                             0.05,  0.1,   0.2,   0.5,   1,    5};
// Tokens, to the longest context.
const Buckets kLengths = {1, 16, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 131072};

StreamMetrics::Labels With(StreamMetrics::Labels labels, const char* key, const char* value) {
  labels.emplace(key, value);
  return labels;
}

auto& Histograms(prometheus::Registry& registry, const std::string& name, const char* help) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry);
}

}  // namespace

std::string_view ToString(StreamPhase phase) {
  switch (phase) {
    case StreamPhase::kNone:
      return "none";
    case StreamPhase::kReasoning:
      return "reasoning";
    case StreamPhase::kAnswer:
      break;
  }
  return "answer";
}

StreamMetrics::StreamMetrics(prometheus::Registry& registry, const std::string& prefix,
                             const Labels& labels) {
  auto& tokens = prometheus::BuildCounter()
                     .Name(prefix + "_tokens_total")
                     .Help(
                         "Tokens by kind: prompt of started requests and the cached part of it, "
                         "reasoning and answer as they come, discarded beyond an output's end")
                     .Register(registry);
  prompt_tokens_ = &tokens.Add(With(labels, "kind", "prompt"));
  cached_prompt_tokens_ = &tokens.Add(With(labels, "kind", "cached_prompt"));
  discarded_tokens_ = &tokens.Add(With(labels, "kind", "discarded"));
  queue_ = &Histograms(registry, prefix + "_queue_seconds",
                       "Time from arrival to start or, for those that never started, to the end")
                .Add(labels, kDurations);
  output_ = &Histograms(registry, prefix + "_time_to_output_seconds",
                        "Time from arrival to a request's first token, of whichever phase")
                 .Add(labels, kDurations);
  duration_ = &Histograms(registry, prefix + "_request_duration_seconds",
                          "Time from arrival to end of requests that had started")
                   .Add(labels, kDurations);
  prompt_length_ =
      &Histograms(registry, prefix + "_request_prompt_tokens", "Prompt tokens of a started request")
           .Add(labels, kLengths);
  auto& first_token =
      Histograms(registry, prefix + "_time_to_first_token_seconds",
                 "Time from arrival to the first token of a phase, reasoning or answer");
  auto& token_time = Histograms(registry, prefix + "_time_per_output_token_seconds",
                                "Mean time between a request's tokens of one phase, at its end");
  auto& length = Histograms(registry, prefix + "_request_output_tokens",
                            "Tokens of one phase in a request that came to it, at its end");
  const std::array<const char*, 2> names = {"reasoning", "answer"};
  for (std::size_t i = 0; i < names.size(); ++i) {
    const Labels of_phase = With(labels, "phase", names[i]);
    phases_[i] = {.tokens = &tokens.Add(With(labels, "kind", names[i])),
                  .first_token = &first_token.Add(of_phase, kDurations),
                  .token_time = &token_time.Add(of_phase, kTokenTimes),
                  .length = &length.Add(of_phase, kLengths)};
  }
}

void StreamMeter::Start(std::int32_t prompt_tokens, std::int32_t cached_prompt_tokens,
                        Clock::TimePoint now) {
  if (started_at_) return;
  started_at_ = now;
  counts_.prompt = prompt_tokens;
  counts_.cached_prompt = cached_prompt_tokens;
  metrics_.prompt_tokens_->Increment(prompt_tokens);
  metrics_.cached_prompt_tokens_->Increment(cached_prompt_tokens);
  metrics_.prompt_length_->Observe(prompt_tokens);
  metrics_.queue_->Observe(ToSeconds(now - arrival_));
}

void StreamMeter::AddTokens(StreamPhase phase, std::int32_t count, Clock::TimePoint now) {
  if (count <= 0) return;
  CHECK(phase != StreamPhase::kNone, "a token has a phase");
  if (phase_ == StreamPhase::kNone) metrics_.output_->Observe(ToSeconds(now - arrival_));
  phase_ = phase;
  const std::size_t index = phase == StreamPhase::kReasoning ? 0 : 1;
  Progress& progress = progress_[index];
  if (progress.tokens == 0) {
    progress.first = now;
    metrics_.phases_[index].first_token->Observe(ToSeconds(now - arrival_));
  }
  progress.tokens += count;
  progress.last = now;
  (index == 0 ? counts_.reasoning : counts_.answer) += count;
  metrics_.phases_[index].tokens->Increment(count);
}

double StreamMeter::seconds_per_token() const {
  const Progress* const first = FirstProgress();
  const int tokens = progress_[0].tokens + progress_[1].tokens;
  if (first == nullptr || tokens < 2) return 0;
  const Clock::TimePoint last = std::max(progress_[0].last, progress_[1].last);
  return ToSeconds(last - first->first) / (tokens - 1);
}

double StreamMeter::prompt_s() const {
  const Progress* const first = FirstProgress();
  return started_at_ && first != nullptr ? ToSeconds(first->first - *started_at_) : 0;
}

std::optional<Clock::Duration> StreamMeter::phase_time(StreamPhase phase) const {
  const Progress& progress = progress_[phase == StreamPhase::kReasoning ? 0 : 1];
  if (progress.tokens == 0) return std::nullopt;
  return progress.last - progress.first;
}

const StreamMeter::Progress* StreamMeter::FirstProgress() const {
  for (const Progress& progress : progress_) {
    if (progress.tokens > 0) return &progress;
  }
  return nullptr;
}

void StreamMeter::End(std::int32_t discarded_tokens, Clock::TimePoint now) {
  counts_.discarded = discarded_tokens;
  metrics_.discarded_tokens_->Increment(discarded_tokens);
  if (!started_at_) {
    metrics_.queue_->Observe(ToSeconds(now - arrival_));
    return;
  }
  metrics_.duration_->Observe(ToSeconds(now - arrival_));
  for (std::size_t i = 0; i < progress_.size(); ++i) {
    const Progress& progress = progress_[i];
    if (progress.tokens == 0) continue;
    metrics_.phases_[i].length->Observe(progress.tokens);
    if (progress.tokens == 1) continue;
    metrics_.phases_[i].token_time->Observe(ToSeconds(progress.last - progress.first) /
                                            (progress.tokens - 1));
  }
}

}  // namespace thinkwire
