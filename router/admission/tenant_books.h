#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>

#include "common/clock.h"
#include "common/mutex.h"
#include "router/admission/tenant_limits.h"
#include "router/admission/token_bucket.h"

namespace thinkwire::router::admission {

// Why a tenant's request is not admitted, and when the next may be: the reserve of tokens is there
// then, or one of its own requests has probably ended.
struct Refusal {
  enum class Limit : std::uint8_t { kConcurrency, kTokens };
  Limit limit = Limit::kConcurrency;
  std::int64_t value = 0;  // of the limit, here
  Clock::Duration retry_after{};
};

// What each tenant has in hand, and has taken of its tokens a minute. Limits come with the request,
// so that a file that is read anew holds at once. Keeps some 200 bytes for each tenant that ever
// had a limit. Threads: any.
class TenantBooks {
 public:
  // One request of a tenant, from its arrival to its end; none if made so. At most as long as its
  // books.
  class Entry {
   public:
    Entry() = default;
    Entry(Entry&& other) noexcept;
    Entry& operator=(Entry&& other) noexcept;
    ~Entry();

    // It will probably take so many tokens. Nothing: they are reserved. Once.
    std::optional<Refusal> Reserve(double tokens);
    // It has taken so many; without a word it has taken none. Idempotent after Reserve.
    void Took(double tokens) { taken_ = tokens; }

   private:
    friend class TenantBooks;
    Entry(TenantBooks* owner, std::string tenant, const TenantLimits& limits, Clock::TimePoint now)
        : owner_(owner), tenant_(std::move(tenant)), limits_(limits), began_(now) {}

    TenantBooks* owner_ = nullptr;
    std::string tenant_;
    TenantLimits limits_;
    Clock::TimePoint began_;
    double reserved_ = 0;
    double taken_ = 0;
  };

  // `clock` outlives this.
  explicit TenantBooks(const Clock& clock) : clock_(clock) {}

  // A request has come. `limits` are this router's part.
  std::variant<Entry, Refusal> Begin(const std::string& tenant, const TenantLimits& limits);

 private:
  struct Account {
    explicit Account(Clock::TimePoint now) : bucket(now) {}
    std::int64_t in_hand = 0;
    Clock::Duration usual{};  // time of a request, about; 0: none has ended
    TokenBucket bucket;
  };

  std::optional<Refusal> Reserve(const Entry& entry, double tokens);
  void End(const Entry& entry);

  const Clock& clock_;
  Mutex mu_;
  std::map<std::string, Account> accounts_ ABSL_GUARDED_BY(mu_);
};

}  // namespace thinkwire::router::admission
