#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/input_limits.h"
#include "common/mutex.h"
#include "router/config.h"
#include "router/decision/score_policy.h"
#include "router/variant_config.h"

namespace thinkwire::router {

// The variants of one reading of the configuration, and how requests are decided between them.
// Immutable: a request that began with it keeps it to its end, whatever is configured meanwhile.
//
// A variant's index is its name's for as long as the process runs: whatever is learnt, counted and
// given under it is of the same variant in every catalog. Names that were configured once keep
// theirs, at most kMaxNames of them.
class Catalog {
 public:
  // By all readings of the file since the start together; each has its counters, what was learnt of
  // it, and memory for both. One more is not taken.
  static constexpr std::size_t kMaxNames = 4 * kMaxVariants;

  // The first one: indices are in the order of the file. REQUIRES: ParseConfig has passed it.
  explicit Catalog(RouterConfig config);

  // The one that follows `before`. Fails: RESOURCE_EXHAUSTED, too many names have been configured
  // since the start. REQUIRES: as the constructor.
  static absl::StatusOr<std::shared_ptr<const Catalog>> After(const Catalog& before,
                                                              RouterConfig config);

  // By index; those that are configured no more are as they were, without workers: what they have
  // left of those goes on.
  const std::vector<VariantConfig>& variants() const { return variants_; }
  // The indices of those that are configured, as the file has them.
  std::span<const std::size_t> configured() const { return configured_; }
  bool IsConfigured(std::size_t variant) const;

  const decision::Policy& policy() const { return policy_; }

 private:
  Catalog(std::vector<VariantConfig> variants, std::vector<std::size_t> configured);

  const std::vector<VariantConfig> variants_;
  const std::vector<std::size_t> configured_;
  const decision::ScorePolicy policy_;
};

// The catalog that new requests begin with. Threads: any.
class CurrentCatalog {
 public:
  explicit CurrentCatalog(std::shared_ptr<const Catalog> first) : catalog_(std::move(first)) {}

  std::shared_ptr<const Catalog> Get() const {
    MutexLock lock(mu_);
    return catalog_;
  }
  void Set(std::shared_ptr<const Catalog> next) {
    MutexLock lock(mu_);
    catalog_.swap(next);
  }

 private:
  mutable Mutex mu_;
  std::shared_ptr<const Catalog> catalog_ ABSL_GUARDED_BY(mu_);
};

}  // namespace thinkwire::router
