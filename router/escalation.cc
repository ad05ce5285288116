#include "router/escalation.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/rpc/stream_contract.h"
#include "router/attempts.h"

namespace thinkwire::router {
namespace {

constexpr int kMaxRestarts = rpc::StreamContract::kMaxRestarts;

bool NamesTokens(const v1::PhaseSampling& sampling) {
  return sampling.logit_bias_size() > 0 || sampling.stop_token_ids_size() > 0;
}

bool NamesTokens(const v1::GenerateRequest& request) {
  return request.prompt().has_token_ids() || NamesTokens(request.sampling()) ||
         NamesTokens(request.reasoning_sampling()) || NamesTokens(request.answer_sampling());
}

// One that closes the reasoning has ids, and an answer follows.
bool EndsUnanswered(const v1::ReasoningFinished& finished) {
  const bool by_limit = finished.cause() == v1::REASONING_FINISH_CAUSE_LOOP ||
                        finished.cause() == v1::REASONING_FINISH_CAUSE_LENGTH;
  return by_limit && finished.token_ids().empty();
}

// Of a state whose only output, if it has begun, still reasons as it likes.
bool StillReasons(const v1::ResumeState& state) {
  return std::ranges::all_of(state.outputs(), [](const v1::OutputState& output) {
    return output.phase() != v1::PHASE_ANSWER && !output.reasoning_finished() &&
           output.reasoning_cause() == v1::REASONING_FINISH_CAUSE_UNSPECIFIED && !output.finished();
  });
}

// Whether another variant could begin with it anew.
bool MayBeginAnew(const v1::GenerateRequest& request) {
  return !request.has_resume() || (request.has_prompt() && StillReasons(request.resume()));
}

}  // namespace

absl::Status CheckEscalations(const std::vector<VariantConfig>& variants) {
  for (std::size_t first = 0; first < variants.size(); ++first) {
    std::size_t steps = 0;
    for (std::optional<std::size_t> at = first; !variants[*at].escalate_to.empty(); ++steps) {
      const VariantConfig& variant = variants[*at];
      at = BetterVariant(variants, *at);
      if (!at) {
        return absl::InvalidArgumentError(absl::StrCat("variant ", variant.name, ": escalate_to '",
                                                       variant.escalate_to,
                                                       "' is no variant's name"));
      }
      if (steps == variants.size()) {
        return absl::InvalidArgumentError(
            absl::StrCat("variant ", variant.name, ": escalate_to leads in a circle"));
      }
    }
  }
  return absl::OkStatus();
}

bool MayEscalate(const v1::GenerateRequest& request) {
  return request.wishes().may_substitute() && !NamesTokens(request) && MayBeginAnew(request) &&
         request.n() <= 1 && !request.has_consensus() &&
         request.thinking().mode() != v1::THINKING_MODE_OFF;
}

std::optional<std::size_t> BetterVariant(const std::vector<VariantConfig>& variants,
                                         std::size_t variant) {
  const std::string& name = variants[variant].escalate_to;
  if (name.empty()) return std::nullopt;
  const auto found = std::ranges::find(variants, name, &VariantConfig::name);
  if (found == variants.end()) return std::nullopt;
  return found - variants.begin();
}

std::string_view WhatBecameOfReasoning(v1::ReasoningFinishCause cause) {
  return cause == v1::REASONING_FINISH_CAUSE_LOOP ? "went in circles"
                                                  : "had no room left for an answer";
}

void Escalation::Begin(const v1::GenerateRequest& request) {
  may_ = MayEscalate(request);
  if (request.has_max_tokens()) max_tokens_ = request.max_tokens();
  clamp_max_tokens_ = request.clamp_max_tokens();
}

bool Escalation::RunAt(std::optional<std::size_t> better) {
  better_ = may_ && restarts_ < kMaxRestarts ? better : std::nullopt;
  return better_.has_value();
}

void Escalation::Keep(std::unique_ptr<v1::Prompt> prompt) { prompt_ = std::move(prompt); }

bool Escalation::HoldsBack(const v1::GenerateResponse& event) {
  if (!better_ || is_under_way()) return false;
  if (event.has_reasoning_finished() && EndsUnanswered(event.reasoning_finished())) {
    held_ = event.reasoning_finished().cause();
    discarded_tokens_ = 0;
  }
  if (held_ && event.has_completed()) {
    discarded_tokens_ = event.completed().usage().discarded_tokens();
  }
  return held_.has_value();
}

std::optional<v1::ReasoningFinishCause> Escalation::TakeHeld() {
  return std::exchange(held_, std::nullopt);
}

v1::WorkerGenerateRequest Escalation::Leave(Run run, v1::ReasoningFinishCause cause) {
  CHECK(better_ && prompt_, "a run that may be followed keeps the prompt for the next");
  cause_ = cause;
  v1::WorkerGenerateRequest next = run.request;
  v1::GenerateRequest& request = *next.mutable_request();
  request.set_allocated_prompt(prompt_.release());
  request.clear_max_tokens();
  if (max_tokens_) request.set_max_tokens(*max_tokens_);
  request.set_clamp_max_tokens(clamp_max_tokens_);
  left_ = std::make_unique<Run>(std::move(run));
  tried_.clear();
  return next;
}

bool Escalation::Try(std::size_t worker, std::optional<std::size_t> better) {
  tried_.push_back(worker);
  next_better_ = restarts_ + 1 < kMaxRestarts ? better : std::nullopt;
  return next_better_.has_value();
}

bool Escalation::MayTryAgain() const { return tried_.size() < Attempts::kMax; }

void Escalation::Restart() {
  ++restarts_;
  better_ = next_better_;
  left_.reset();
}

Escalation::Run Escalation::GoBack() {
  CHECK(left_ != nullptr, "a run was left");
  Run run = std::move(*left_);
  left_.reset();
  better_.reset();
  prompt_.reset();
  run.request.clear_end_without_answer();
  return run;
}

std::size_t Escalation::bytes() const {
  std::size_t bytes = prompt_ ? prompt_->SpaceUsedLong() : 0;
  if (left_) bytes += left_->ledger.bytes() + left_->request.SpaceUsedLong();
  return bytes;
}

}  // namespace thinkwire::router
