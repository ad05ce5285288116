#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/clock.h"

namespace thinkwire::router::admission {

// Who goes first among the requests of one tenant.
enum class Priority : std::uint8_t { kLow, kNormal, kHigh };
inline constexpr std::size_t kNumPriorities = 3;

// The requests that wait for one variant, in an order that is fair to tenants and that each tenant
// chooses for its own.
//
// Between tenants: start-time fair queueing (Goyal, Vin and Cheng, "Start-time Fair Queueing",
// SIGCOMM 1996), where a request costs the tokens that it will probably take, c, and V is the
// virtual time, 0 at first:
//   a tenant of weight w that had nothing waiting begins at  S = max(V, F),
//   the next to go is a request of the tenant whose S is least, of equal ones the first that came,
//   when it goes,  V = S,  F = S + c / w,  and that tenant's  S = F;
//   once nothing waits all begin anew.
// So tenants that have something waiting get tokens as their weights are, whatever each has
// waiting, and nobody's part is saved up. What a request has really taken is told when it ends
// (Correct), as of the counters of Sheng et al., "Fairness in Serving Large Language Models", OSDI
// 2024.
//
// Within a tenant: by priority, which rises by one for each kPriorityAgeing of waiting; then by
// deadline, where none is kAssumedPatience from the arrival; then by arrival. So nothing waits for
// ever: what comes later has a later deadline some day.
// Cost: Next a pass over the tenants that have something waiting. Threads: one at a time.
class FairQueue {
 public:
  using Id = std::uint64_t;  // never used again

  struct Request {
    std::string tenant{};
    double weight = 1;  // the tenant's, > 0: the latest holds
    Priority priority = Priority::kNormal;
    std::optional<Clock::TimePoint> deadline{};
    double cost = 1;           // tokens, > 0
    double least_cost = 0;     // of one that goes and is cancelled at once, <= cost
    std::int64_t outputs = 1;  // as many places it takes where it runs
  };

  Id Add(const Request& request, Clock::TimePoint now);
  // The next to go, of the tenants that `may`; nothing if none waits. It stays until Take or
  // Remove.
  using Filter = std::function<bool(const std::string& tenant)>;
  std::optional<Id> Next(Clock::TimePoint now, const Filter& may = {});
  // It goes, and is charged.
  void Take(Id id);
  // It goes without. No effect if it is not there.
  void Remove(Id id);

  // A tenant that was let pass is charged as if it had waited, as long as others wait.
  void Charge(const Request& request);
  // A request that was charged has really taken so many tokens more, or fewer.
  void Correct(const std::string& tenant, double weight, double tokens);

  // How many would go before such a request if it came now, about: those of other tenants are
  // taken to cost each what theirs do on average.
  std::size_t CountAhead(const Request& request, Clock::TimePoint now) const;
  // All that wait, in the order in which they would go if nobody came. O(n log n).
  std::vector<Id> Order() const;

  bool Has(const std::string& tenant) const;
  bool empty() const { return waiting_.empty(); }
  std::size_t size() const { return waiting_.size(); }

 private:
  // By deadline, then by arrival.
  using Key = std::pair<Clock::TimePoint, Id>;
  struct Waiting {
    Request request;
    Key key;
    std::size_t level = 0;     // a Priority, as it has aged
    Clock::TimePoint since{};  // at that level
  };
  struct Tenant {
    double start = 0;  // S; F while nothing of it waits
    double weight = 1;
    std::array<std::set<Key>, kNumPriorities> levels{};
    std::size_t size = 0;
    double cost = 0;                                        // of all its requests together
    Clock::TimePoint first_rise = Clock::TimePoint::max();  // not before it does one rise

    Id First() const;  // REQUIRES: size > 0
  };
  using Tenants = std::map<std::string, Tenant>;

  static Key KeyOf(const Request& request, Id id, Clock::TimePoint now);
  Tenant& Awake(const std::string& name, double weight);
  void Age(Tenant& tenant, Clock::TimePoint now);
  Tenant& Drop(Id id);
  void ForgetIdle();

  double virtual_time_ = 0;  // V
  Id last_id_ = 0;
  std::unordered_map<Id, Waiting> waiting_;
  Tenants tenants_;  // that have something waiting, or whose F is beyond V
};

}  // namespace thinkwire::router::admission
