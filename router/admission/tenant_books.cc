#include "router/admission/tenant_books.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace thinkwire::router::admission {
namespace {

constexpr int kSmoothing = 8;  // the latest counts for an eighth
// Between requests of a tenant that has too many in hand: nobody is told to come at once, or to
// stay away for longer than clients remember.
constexpr Clock::Duration kSoonest = std::chrono::milliseconds(100);
constexpr Clock::Duration kLatest = std::chrono::minutes(1);
constexpr Clock::Duration kUnseen = std::chrono::seconds(1);

}  // namespace

TenantBooks::Entry::Entry(Entry&& other) noexcept
    : owner_(std::exchange(other.owner_, nullptr)),
      tenant_(std::move(other.tenant_)),
      limits_(other.limits_),
      began_(other.began_),
      reserved_(other.reserved_),
      taken_(other.taken_) {}

TenantBooks::Entry& TenantBooks::Entry::operator=(Entry&& other) noexcept {
  std::swap(owner_, other.owner_);
  std::swap(tenant_, other.tenant_);
  std::swap(limits_, other.limits_);
  std::swap(began_, other.began_);
  std::swap(reserved_, other.reserved_);
  std::swap(taken_, other.taken_);
  return *this;
}

TenantBooks::Entry::~Entry() {
  if (owner_ != nullptr) owner_->End(*this);
}

std::optional<Refusal> TenantBooks::Entry::Reserve(double tokens) {
  if (owner_ == nullptr || limits_.tokens_per_minute == 0) return std::nullopt;
  std::optional<Refusal> refusal = owner_->Reserve(*this, tokens);
  if (!refusal) reserved_ = tokens;
  return refusal;
}

// One of them ends every usual / max_concurrency, as long as that many run (Little's law).
std::variant<TenantBooks::Entry, Refusal> TenantBooks::Begin(const std::string& tenant,
                                                             const TenantLimits& limits) {
  const Clock::TimePoint now = clock_.Now();
  MutexLock lock(mu_);
  Account& account = accounts_.try_emplace(tenant, now).first->second;
  if (limits.max_concurrency == 0 || account.in_hand < limits.max_concurrency) {
    ++account.in_hand;
    return Entry(this, tenant, limits, now);
  }
  const bool seen = account.usual > Clock::Duration::zero();
  const Clock::Duration next = seen ? account.usual / limits.max_concurrency : kUnseen;
  return Refusal{.limit = Refusal::Limit::kConcurrency,
                 .value = limits.max_concurrency,
                 .retry_after = std::clamp(next, kSoonest, kLatest)};
}

std::optional<Refusal> TenantBooks::Reserve(const Entry& entry, double tokens) {
  const std::int64_t per_minute = entry.limits_.tokens_per_minute;
  MutexLock lock(mu_);
  TokenBucket& bucket = accounts_.find(entry.tenant_)->second.bucket;
  const Clock::Duration wait = bucket.Reserve(tokens, per_minute, clock_.Now());
  if (wait == Clock::Duration::zero()) return std::nullopt;
  return Refusal{.limit = Refusal::Limit::kTokens, .value = per_minute, .retry_after = wait};
}

void TenantBooks::End(const Entry& entry) {
  const Clock::Duration took = clock_.Now() - entry.began_;
  MutexLock lock(mu_);
  Account& account = accounts_.find(entry.tenant_)->second;
  --account.in_hand;
  if (entry.limits_.tokens_per_minute > 0) account.bucket.Settle(entry.reserved_, entry.taken_);
  if (entry.taken_ == 0) return;  // a refusal says nothing of how long requests take
  account.usual +=
      account.usual == Clock::Duration::zero() ? took : (took - account.usual) / kSmoothing;
}

}  // namespace thinkwire::router::admission
