#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "common/clock.h"
#include "router/ledger.h"
#include "router/variant_config.h"
#include "thinkwire/v1/worker.pb.h"

namespace thinkwire::router {

// Whether each variant's `escalate_to` is another variant's name, and leads back to none. Fails:
// INVALID_ARGUMENT, one sentence with the names.
absl::Status CheckEscalations(const std::vector<VariantConfig>& variants);

// Whether a request may begin anew at another variant, if its own has one for that: the client lets
// another stand in, and nothing of the request means something for one vocabulary alone (ids of the
// prompt, of logit_bias, of stops). Not where it wants several outputs, as one of them may have
// answered already, or does not think. Where it goes on from an earlier stream, only with the
// prompt for another variant to read, and while nothing has closed the reasoning.
bool MayEscalate(const v1::GenerateRequest& request);

// The variant where a request begins anew whose reasoning at `variant` came to no answer, both
// indices into `variants`; nullopt: there is none.
std::optional<std::size_t> BetterVariant(const std::vector<VariantConfig>& variants,
                                         std::size_t variant);

// "went in circles", "had no room left for an answer"; of LOOP and LENGTH.
std::string_view WhatBecameOfReasoning(v1::ReasoningFinishCause cause);

// What is known of one request that may begin anew at a better variant (Restarted of
// reasoning.proto). A run is all attempts at one variant.
//
// 1. While a run may be followed by another its worker ends without an answer where its reasoning
//    goes in circles or is out of room. Those last events are held back: when they are complete,
//    either the next run begins and the run is void, or it goes on and answers after all.
// 2. The run that was left is kept until the next has started, so that it can go on instead.
// 3. At most kMaxRestarts follow the first run. One that went on instead is the last.
// Owns: the prompt, while another run may need it; the run that was left. Knows no gRPC.
// Threads: one at a time.
class Escalation {
 public:
  // What a run that was left had come to.
  struct Run {
    Ledger ledger{};
    v1::WorkerGenerateRequest request;
    std::size_t worker = 0;  // that had it last
    Clock::TimePoint left_at;
  };

  // The request, as it came. Once, before all else.
  void Begin(const v1::GenerateRequest& request);

  // The run is at a variant whose better one is this, an index; nullopt: it has none. Returns
  // whether its worker is to end without an answer.
  bool RunAt(std::optional<std::size_t> better);

  // The prompt, which the run needs no more. REQUIRES: RunAt has said true of it.
  void Keep(std::unique_ptr<v1::Prompt> prompt);

  // Whether the next event of the run's worker is none that the client sees: the reasoning came to
  // no answer, or that was so before.
  bool HoldsBack(const v1::GenerateResponse& event);
  // A worker has ended, or a new attempt begins: what was held back is complete, or is sent again.
  // Why the reasoning came to no answer; nullopt: nothing was held back.
  std::optional<v1::ReasoningFinishCause> TakeHeld();

  // The run is left; what the worker of the next is asked. REQUIRES: TakeHeld said why.
  v1::WorkerGenerateRequest Leave(Run run, v1::ReasoningFinishCause cause);
  // An attempt of the next run goes to that worker, whose variant's better one is this, as in
  // RunAt. Whether another may follow the attempt.
  bool Try(std::size_t worker, std::optional<std::size_t> better);
  bool MayTryAgain() const;
  const std::vector<std::size_t>& tried() const { return tried_; }
  // Whether a run was left and the next has not started. REQUIRES of the next three: so it is.
  bool is_under_way() const { return left_ != nullptr; }
  const Run& left() const { return *left_; }
  std::size_t better() const { return *better_; }
  // The next run has started: the one that was left is void.
  void Restart();
  // It has not: what to go on with. No other run follows.
  Run GoBack();

  v1::ReasoningFinishCause cause() const { return cause_; }  // of the latest run that was left
  // Tokens beyond the end of the run that was left, as its worker says.
  std::int32_t discarded_tokens() const { return discarded_tokens_; }
  std::size_t bytes() const;

 private:
  bool may_ = false;
  std::optional<std::int32_t> max_tokens_;  // as the client asked, as the next
  bool clamp_max_tokens_ = false;
  std::optional<std::size_t> better_;       // than the run's variant; set: it may be followed
  std::optional<std::size_t> next_better_;  // likewise, of the next run
  int restarts_ = 0;
  std::unique_ptr<v1::Prompt> prompt_;
  std::optional<v1::ReasoningFinishCause> held_;
  v1::ReasoningFinishCause cause_ = v1::REASONING_FINISH_CAUSE_UNSPECIFIED;
  std::int32_t discarded_tokens_ = 0;
  std::unique_ptr<Run> left_;       // seldom any, and large
  std::vector<std::size_t> tried_;  // by the next run
};

}  // namespace thinkwire::router
