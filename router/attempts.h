#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace thinkwire::router {

// What an error of an attempt says of its worker where another worker need not share it: "was
// draining". Empty: the request itself is to blame.
std::string_view WhatBecameOfWorker(const absl::Status& status);

// Whether the worker has not spoken for itself: it was lost, or silent for too long.
bool IsLoss(const absl::Status& status);

// Whether it does not go on, through no fault of the request's: a loss, a drain, a crowd.
bool HasLeft(const absl::Status& status);

// Whether it broke the contract.
bool HasLied(const absl::Status& status);

// Which workers one request was given to in vain before one has started, and whether another shall
// have it. A refusal that another worker need not share (draining, a full queue or another limit, a
// fingerprint that is not the wanted one), a loss and a broken contract may be tried again, each
// worker once and kMax in all. What a request itself is to blame for may not. What becomes of it
// once it has started is Takeover's.
//
// Before that nothing is fixed, so that it does not matter which fingerprint the next worker has.
// Threads: one at a time.
class Attempts {
 public:
  static constexpr std::size_t kMax = 3;

  // The latest attempt has gone to `worker`, an index into the pool's.
  void Begin(std::size_t worker) { tried_.push_back(worker); }

  // It has ended with `status`, an error that the client may be told, and has not started.
  void Fail(absl::Status status) { failures_.push_back(std::move(status)); }

  // Whether another worker may be asked. REQUIRES: Fail followed the latest Begin.
  bool MayGoOn() const;

  // All that were asked, for decision::Query.
  const std::vector<std::size_t>& tried() const { return tried_; }

  // How the latest has ended; OK: none has yet.
  absl::Status last() const { return failures_.empty() ? absl::OkStatus() : failures_.back(); }

  // What the client is told if no more is tried: the last error, but where that is a loss and some
  // worker has refused, the last refusal, which says when to come again.
  // REQUIRES: Fail was called.
  const absl::Status& Best() const;

  // "second worker tried: the first was draining"; empty with the first.
  std::string Describe() const;

 private:
  std::vector<std::size_t> tried_;
  std::vector<absl::Status> failures_;  // one less than tried_ while an attempt runs
};

}  // namespace thinkwire::router
