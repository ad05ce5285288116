#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "common/mutex.h"
#include "common/peer_limits.h"
#include "common/rpc/shares.h"
#include "router/admission/dispatch_pace.h"
#include "router/admission/fair_queue.h"
#include "router/fleet/turns.h"

namespace thinkwire::router::admission {

// The router's queue: requests that found no place on a worker of their variant, a FairQueue for
// each variant. Those that wait hold no thread: once a place may be free (Look) the next is asked
// to take it. Who is behind, with fewer running at the variant than the mean of all who have, by
// weight, and than its share of the places, may go where a worker's own shares
// (worker/engine/fair_share.h) make way for it: before those who wait if it has nothing waiting,
// else once it is the first, but for those who are not behind and find no place. What others have
// beyond their shares takes no place from it, so that nobody fills a worker by holding what he has.
//
// 1. At most kMaxWaiting wait in all, a peer has its share of these (rpc::Shares).
// 2. Whoever waits is called by one thread, without a lock held, until it has gone.
// 3. Waits are told, and requests refused that would come too late, by the pace at which requests
//    went lately (DispatchPace), else by what the policy expects; where neither is known, not. A
//    queue of many that may all wait for as long is as long as the last of them may wait, and its
//    pace changes meanwhile: so who comes must have a tenth of that time to spare (kSureShare), or
//    one in a hundred would be refused after it has waited (tests/bench/RESULTS.md).
// Owns: a thread, from Start to Stop. Threads: any.
class DispatchQueue {
 public:
  static constexpr Clock::Duration kTellInterval = std::chrono::milliseconds(500);
  static constexpr double kSureShare = 0.9;

  struct Place {
    std::size_t position = 0;        // requests that go before it
    std::optional<double> wait_s{};  // until its turn; nullopt: not known
  };

  // A request that waits. The calls come one at a time.
  class Waiter {
   public:
    virtual ~Waiter() = default;
    // A place may be free. False: there was none, and it waits on; else it has gone, to its place
    // or its end.
    virtual bool Dispatch() = 0;
    // Its place has changed.
    virtual void TellPlace(const Place& place) = 0;
    // It has not changed for kTellInterval; of those whose Terms ask for it.
    virtual void TellSilence() = 0;
    // Nobody is dispatched any more.
    virtual void SendAway() = 0;
  };

  // One that waits, until destroyed; none if made so.
  class Ticket {
   public:
    Ticket() = default;
    Ticket(Ticket&& other) noexcept { *this = std::move(other); }
    Ticket& operator=(Ticket&& other) noexcept;
    ~Ticket() { Leave(); }
    void Leave();

   private:
    friend class DispatchQueue;
    DispatchQueue* owner_ = nullptr;
    std::string variant_;
    FairQueue::Request request_;
    FairQueue::Id id_ = 0;
    rpc::Shares::Held place_;
  };

  // One that has gone to a worker, until destroyed; none if made so.
  class Running {
   public:
    Running() = default;
    Running(Running&& other) noexcept { *this = std::move(other); }
    Running& operator=(Running&& other) noexcept;
    ~Running();
    // It has taken so many tokens, in place of those that were expected; at least its least_cost,
    // as a worker was busy with it.
    void Took(double tokens) { tokens_ = std::max(tokens, request_.least_cost); }

   private:
    friend class DispatchQueue;
    DispatchQueue* owner_ = nullptr;
    std::string variant_;
    FairQueue::Request request_;
    double tokens_ = 0;
  };

  struct Terms {
    double expected_pace_s = 0;              // between two places, says the policy; 0: not known
    std::optional<double> longest_wait_s{};  // after which its deadline would pass; nullopt: any
    bool tells_silence = false;
  };
  struct Entered {
    enum class Outcome : std::uint8_t { kWaits, kFull, kTooLate };
    Outcome outcome = Outcome::kWaits;
    Place place{};
    double excess_s = 0;  // if it is too late: seconds that it would wait beyond what it may
    Ticket ticket{};      // if it waits
  };

  // `clock` outlives this.
  explicit DispatchQueue(const Clock& clock) : clock_(clock), places_(kMaxWaiting) {}
  ~DispatchQueue() { Stop(); }

  // Runs Tick when there is something to do until Stop.
  void Start();
  // Idempotent.
  void Stop();
  // Sends away whoever waits, or comes to wait from now on.
  void Close();

  Entered Enter(const std::string& variant, const FairQueue::Request& request, const Terms& terms,
                std::weak_ptr<Waiter> waiter);
  // The holder of the ticket goes. REQUIRES: it was asked to, by Dispatch.
  Running Go(Ticket& ticket);
  // One that found a place at once.
  Running BeginAtOnce(const std::string& variant, const FairQueue::Request& request);

  // When one that is refused, as it would come so much too late, may come again: as much later, and
  // each behind the one that was told so before it, at the pace at which places get free, as all of
  // them together would be refused again. From kSoonestReturn to kLatestReturn.
  static constexpr Clock::Duration kSoonestReturn = std::chrono::milliseconds(100);
  static constexpr Clock::Duration kLatestReturn =
      std::chrono::minutes(1);  // clients remember that
  Clock::Duration ComeAgain(const std::string& variant, double excess_s);

  // A place of the variant may be free. May be called under any lock but this one's.
  void Look(const std::string& variant);

  // Asks those whose turn it may be; tells places every kTellInterval.
  void Tick();

  // What a request of the tenant may have that has just come, or whose turn it is.
  fleet::Room RoomOfNew(const std::string& variant, const std::string& tenant, std::int64_t places);
  fleet::Room RoomAtTurn(const std::string& variant, const std::string& tenant,
                         std::int64_t places);
  // As of fleet::Turns.
  double SurplusAt(const std::string& variant, std::int64_t places) const;
  std::size_t NumWaiting(const std::string& variant) const;

 private:
  struct Entry {
    std::weak_ptr<Waiter> waiter;
    std::size_t told = 0;  // position
    bool tells_silence = false;
  };
  struct Share {
    std::int64_t running = 0;  // > 0
    double weight = 1;         // of its first
  };
  struct Line {
    FairQueue queue;
    std::map<FairQueue::Id, Entry> entries{};  // as many as in the queue
    DispatchPace pace{};
    double expected_pace_s = 0;
    std::map<std::string, Share> running{};  // by tenant
    std::int64_t all_running = 0;            // the sums of these
    double all_weights = 0;
    std::int64_t places = 0;         // of the variant, as last said
    Clock::TimePoint next_return{};  // of those that were told to come again, the last one's

    double PaceSeconds(Clock::TimePoint now) const;  // 0: not known
    std::optional<double> WaitOf(std::size_t position, Clock::TimePoint now) const;
    void Begin(const FairQueue::Request& request);
    void End(const FairQueue::Request& request);
    // Whether it has fewer running than its part of the places, or of what runs, if that is less.
    bool IsBehind(const std::string& tenant) const;
    double Surplus(std::int64_t places) const;
    void Remove(FairQueue::Id id);
  };
  struct Told {
    std::shared_ptr<Waiter> waiter;
    std::optional<Place> place;  // nullopt: that it waits on
  };

  void DispatchLine(const std::string& variant);
  // Asks the first, or the first of those who are behind; whether it has gone.
  bool DispatchFirst(const std::string& variant, bool of_behind);
  void SendAllAway();
  void TellPlaces();
  void AddTold(Line& line, Clock::TimePoint now, std::vector<Told>& told)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool HasWork() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void End(const Running& running);

  const Clock& clock_;
  rpc::Shares places_;
  mutable Mutex mu_;
  CondVar changed_;
  std::map<std::string, Line> lines_ ABSL_GUARDED_BY(mu_);  // of variants that had requests
  std::set<std::string> to_look_at_ ABSL_GUARDED_BY(mu_);   // lines that may have a place
  Clock::TimePoint next_telling_ ABSL_GUARDED_BY(mu_);
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace thinkwire::router::admission
