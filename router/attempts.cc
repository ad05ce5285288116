#include "router/attempts.h"

#include <algorithm>
#include <iterator>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/rpc/status_details.h"
#include "common/strings.h"
#include "router/fleet/worker_errors.h"

namespace thinkwire::router {
namespace {

// What may be tried again: the reason, and what it says of a worker.
struct Retriable {
  std::string_view reason;
  std::string_view what;
};
constexpr Retriable kRetriable[] = {
    {"DRAINING", "was draining"},
    {"SHUTTING_DOWN", "was shutting down"},
    {"QUEUE_FULL", "had a full queue"},
    {"TOO_MANY_REQUEST_BYTES", "had too many bytes in hand"},
    {"TOO_MANY_CALLS", "had too many calls"},
    {"WORKER_LIMIT", "had met a limit"},
    {"FINGERPRINT_MISMATCH", "had another fingerprint"},
    {fleet::kWorkerLost, "was lost"},
    {fleet::kWorkerSilent, "was silent"},
    {fleet::kWorkerProtocol, "broke the contract"},
    {fleet::kWorkerCrowded, "had no room to go on"},
};

const Retriable* Find(const absl::Status& status) {
  const auto* const found =
      std::ranges::find(kRetriable, rpc::ErrorReason(status), &Retriable::reason);
  return found == std::end(kRetriable) ? nullptr : found;
}

constexpr std::string_view kOrdinals[Attempts::kMax] = {"first", "second", "third"};

}  // namespace

std::string_view WhatBecameOfWorker(const absl::Status& status) {
  const Retriable* const known = Find(status);
  return known == nullptr ? "" : known->what;
}

bool IsLoss(const absl::Status& status) {
  const std::string reason = rpc::ErrorReason(status);
  return reason == fleet::kWorkerLost || reason == fleet::kWorkerSilent;
}

bool HasLeft(const absl::Status& status) {
  const std::string reason = rpc::ErrorReason(status);
  return IsLoss(status) || reason == fleet::kWorkerCrowded || reason == "DRAINING" ||
         reason == "SHUTTING_DOWN";
}

bool HasLied(const absl::Status& status) {
  return rpc::ErrorReason(status) == fleet::kWorkerProtocol;
}

bool Attempts::MayGoOn() const { return tried_.size() < kMax && Find(failures_.back()) != nullptr; }

const absl::Status& Attempts::Best() const {
  CHECK(!failures_.empty(), "some attempt has failed");
  const absl::Status& last = failures_.back();
  if (!IsLoss(last)) return last;
  const auto refusal = std::find_if(failures_.rbegin(), failures_.rend(), [](const auto& failure) {
    return !IsLoss(failure) && rpc::RetryAfter(failure);
  });
  return refusal == failures_.rend() ? last : *refusal;
}

std::string Attempts::Describe() const {
  if (failures_.empty() || tried_.size() <= failures_.size()) return "";
  std::string text = absl::StrCat(View(kOrdinals[failures_.size()]), " worker tried:");
  for (std::size_t i = 0; i < failures_.size(); ++i) {
    const Retriable* const why = Find(failures_[i]);
    CHECK(why != nullptr, "only such failures are followed by another attempt");
    absl::StrAppend(&text, i == 0 ? " the " : ", the ", View(kOrdinals[i]), " ", View(why->what));
  }
  return text;
}

}  // namespace thinkwire::router
