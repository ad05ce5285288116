#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/clock.h"
#include "router/fleet/losses.h"
#include "router/suspicion.h"

namespace thinkwire::router {

// What becomes of one stream when its worker is gone after it has started: whether another goes on
// with it, whom not to ask, until when one is looked for.
//
// 1. A worker that was lost or silent, drains, shuts down or has no room to go on, or broke the
//    contract is followed by another: what it said until then was held to the contract, and stays.
//    Any other error is the stream's own. A worker that does not begin with it, whatever it says,
//    is no reason to end it but that of the deadline: the next is asked.
// 2. From the loss on, or from the stream's place in the MoveSchedule, there is `wait` until some
//    worker must have begun. Whoever has failed it meanwhile is not asked again for kSecondChance.
// 3. Poison (Suspicion): it was running on several workers in a row when each failed, not drained,
//    and came hardly further.
// Threads: one at a time.
class Takeover {
 public:
  explicit Takeover(Clock::Duration wait) : wait_(wait) {}

  // The latest attempt, at the worker of that address, has started.
  void Begin(const std::string& address);

  enum class Verdict : std::uint8_t {
    kEnd,     // with that error
    kPoison,  // give it to no other worker
    kSearch,  // look for another worker, from SearchFrom on
    kGoOn,    // look on
  };
  // What is known of a loss: at which worker, an index into the pool's, after how many tokens of
  // all attempts, with how many others there (Roster::LostTogether), and which other workers of the
  // variant were lost lately.
  struct Circumstances {
    std::size_t worker = 0;
    std::int64_t tokens = 0;
    std::int64_t together = 1;
    fleet::Losses fleet{};
  };
  // The latest attempt has ended with `status`, not OK.
  Verdict Lose(const absl::Status& status, const Circumstances& loss, Clock::TimePoint now) {
    return begun_ ? LoseBegun(status, loss, now) : LoseOther(status, loss.worker, now);
  }
  // After kSearch: it may be what they were lost of.
  bool is_suspect() const { return suspicion_.is_suspect(); }
  bool spares_the_last() const { return suspicion_.spares_the_last(); }
  // The latest attempt, at the worker of that address, has ended well, but the request is to go on,
  // there or elsewhere: look for a worker, as after kSearch.
  void GoOn(const std::string& address, Clock::TimePoint now);
  // The request has begun anew: nothing that came before says anything of what comes.
  void BeginAnew();

  // After kSearch.
  void SearchFrom(Clock::TimePoint place) { place_ = place; }

  // While it searches.
  bool MayTry(Clock::TimePoint now) const { return now >= place_; }
  bool IsOver(Clock::TimePoint now) const { return now >= GiveUpAt(); }
  // When to look again, or to give up.
  Clock::TimePoint NextLook(Clock::TimePoint now) const;
  // Workers that are not to be asked now.
  std::vector<std::size_t> Avoided(Clock::TimePoint now) const;

  // How the latest worker that had it was lost, as an error's reason and for people, and when.
  const absl::Status& loss() const { return loss_; }
  std::string Describe() const;  // "the worker was lost"
  Clock::TimePoint lost_at() const { return lost_at_; }
  // Who has it, or had it last, and who before.
  const std::string& address() const { return address_; }
  const std::string& previous_address() const { return previous_address_; }

  // What the client is told where no worker has begun in time: that the worker was lost, or what it
  // did to the contract.
  absl::Status NobodyIsLeft() const;
  // Where what it has brought takes more bytes than another worker can be sent.
  absl::Status TooLarge(std::size_t bytes) const;
  // And of poison.
  absl::Status Poison(const std::string& request_id) const;

 private:
  Verdict LoseBegun(const absl::Status& status, const Circumstances& loss, Clock::TimePoint now);
  Verdict LoseOther(const absl::Status& status, std::size_t worker, Clock::TimePoint now);
  Clock::TimePoint GiveUpAt() const;
  void Avoid(std::size_t worker, Clock::TimePoint now);

  struct Avoidance {
    std::size_t worker;
    Clock::TimePoint until;
  };

  const Clock::Duration wait_;
  bool begun_ = false;
  std::string address_;
  std::string previous_address_;
  absl::Status loss_;
  Clock::TimePoint lost_at_;
  Clock::TimePoint place_;
  std::vector<Avoidance> avoided_;
  Suspicion suspicion_;
};

}  // namespace thinkwire::router
