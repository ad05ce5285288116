#include "tests/bench/batch_run.h"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "common/status.h"
#include "worker/engine/token_stream.h"

namespace thinkwire::bench {
namespace {

using worker::engine::Ending;
using worker::engine::EndReason;
using worker::engine::Engine;
using worker::engine::Request;
using worker::engine::TokenStream;
using worker::step::Limits;
using worker::step::PhaseSampling;

// Reads every stream of a batch, on the engine thread as soon as there is something; but from the
// first token of a sequence on only when all have theirs.
// Threads: OnReady on the engine thread; WaitUntilAllEnded, then the results, on the caller's.
class BatchReader {
 public:
  BatchReader(Engine& engine, const BatchSpec& spec, const Limits& limits)
      : engine_(engine), capacity_(static_cast<std::size_t>(limits.max_in_flight)) {
    for (std::size_t i = 0; i < static_cast<std::size_t>(spec.sequences); ++i) {
      sequences_.push_back(
          {std::make_shared<TokenStream>(capacity_, [this, i] { OnReady(i); }), std::nullopt});
    }
  }

  const std::shared_ptr<TokenStream>& stream(std::size_t i) const { return sequences_[i].stream; }

  void WaitUntilAllEnded() {
    MutexLock lock(mu_);
    while (!all_ended_) ended_.Wait(mu_);
  }

  // After WaitUntilAllEnded.
  Clock::TimePoint last_first_token() const { return last_first_token_; }
  Clock::TimePoint last_token() const { return last_token_; }
  std::int64_t generated_tokens() const { return generated_tokens_; }
  std::int64_t decoded_tokens() const { return decoded_tokens_; }

  // Fails: INTERNAL for the first sequence that did not run to its length.
  absl::Status CheckEndings(const BatchSpec& spec) const {
    for (std::size_t i = 0; i < sequences_.size(); ++i) {
      const Ending& ending = *sequences_[i].ending;
      if (ending.reason == EndReason::kLength) continue;
      return absl::InternalError(absl::StrCat(
          "sequence ", i, " ended after ", ending.generated_tokens, " of ", spec.output_tokens,
          " tokens", ending.reason == EndReason::kNotFinite ? ": the logits are not finite" : ""));
    }
    return absl::OkStatus();
  }

 private:
  struct Sequence {
    std::shared_ptr<TokenStream> stream;
    std::optional<Ending> ending;
    bool arrived = false;  // it has its first token, or ended without one
  };

  void OnReady(std::size_t i) {
    if (decoding_) {
      Take(i);
    } else {
      const bool has_token = stream(i)->room() < capacity_;
      if (!has_token) Take(i);  // it was started, or ended without a token
      if ((has_token || sequences_[i].ending) && !std::exchange(sequences_[i].arrived, true)) {
        ++num_arrived_;
      }
      if (num_arrived_ == sequences_.size()) StartDecoding();
    }
    if (num_ended_ == sequences_.size()) Finish();  // the last thing done: it may free `this`
  }

  void StartDecoding() {
    for (std::size_t i = 0; i < sequences_.size(); ++i) Take(i);
    decoding_ = true;
    last_first_token_ = last_token_ = Clock::Real().Now();
    engine_.Wake();
  }

  void Take(std::size_t i) {
    const TokenStream::Batch batch = stream(i)->Take();
    const auto tokens = static_cast<std::int64_t>(batch.tokens.size());
    generated_tokens_ += tokens;
    if (decoding_ && tokens > 0) {
      decoded_tokens_ += tokens;
      last_token_ = Clock::Real().Now();
    }
    if (!batch.ending) return;
    sequences_[i].ending = batch.ending;
    ++num_ended_;
  }

  void Finish() {
    MutexLock lock(mu_);
    all_ended_ = true;
    ended_.NotifyOne();
  }

  Engine& engine_;
  const std::size_t capacity_;  // so many that a sequence that is read at once never pauses

  // Engine thread only until all have ended.
  std::vector<Sequence> sequences_;
  bool decoding_ = false;  // all have their first token
  std::size_t num_arrived_ = 0;
  std::size_t num_ended_ = 0;
  Clock::TimePoint last_first_token_;
  Clock::TimePoint last_token_;
  std::int64_t generated_tokens_ = 0;
  std::int64_t decoded_tokens_ = 0;

  Mutex mu_;
  CondVar ended_;
  bool all_ended_ ABSL_GUARDED_BY(mu_) = false;
};

std::vector<Request> MakeRequests(const BatchSpec& spec, std::int32_t vocab_size) {
  std::mt19937_64 random(spec.seed);
  std::vector<Request> requests(static_cast<std::size_t>(spec.sequences));
  for (Request& request : requests) {
    for (std::int32_t i = 0; i < spec.prompt_tokens; ++i) {
      request.prompt_ids.push_back(
          static_cast<std::int32_t>(random() % static_cast<std::uint64_t>(vocab_size)));
    }
    for (PhaseSampling& phase : request.sampling.phases) {
      phase.temperature = 0.6F;
      phase.top_p = 0.95F;
    }
    request.sampling.seed = random();
    request.max_tokens = spec.output_tokens;
    request.ignore_eos = true;
  }
  return requests;
}

}  // namespace

absl::Status CheckFits(const BatchSpec& spec, const Limits& limits) {
  const std::int64_t length = std::int64_t{spec.prompt_tokens} + spec.output_tokens;
  const std::int64_t blocks =
      spec.sequences * ((length + limits.block_tokens - 1) / limits.block_tokens);
  // The scheduler keeps some back, to let those that run grow.
  const std::int64_t headroom = std::max(spec.sequences, limits.num_blocks / 100);
  if (blocks + headroom <= limits.num_blocks) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      spec.sequences, " sequences of ", length, " tokens need ",
      (blocks + headroom) * limits.block_tokens, " tokens of KV cache together; there are ",
      std::int64_t{limits.num_blocks} * limits.block_tokens));
}

absl::StatusOr<BatchTimes> RunBatch(Engine& engine, const Limits& limits, const BatchSpec& spec) {
  std::vector<Request> requests = MakeRequests(spec, limits.vocab_size);
  BatchReader reader(engine, spec, limits);
  const Clock::TimePoint start = Clock::Real().Now();
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const auto handle = engine.Submit(std::move(requests[i]), reader.stream(i));
    // Those before it are running and write to `reader`.
    CHECK(handle.ok() || i == 0, "what one sequence may do, all may");
    RETURN_IF_ERROR(handle.status());
  }
  reader.WaitUntilAllEnded();
  RETURN_IF_ERROR(reader.CheckEndings(spec));
  return BatchTimes{.prefill_seconds = ToSeconds(reader.last_first_token() - start),
                    .decode_seconds = ToSeconds(reader.last_token() - reader.last_first_token()),
                    .generated_tokens = reader.generated_tokens(),
                    .decoded_tokens = reader.decoded_tokens()};
}

}  // namespace thinkwire::bench
