#pragma once

#include <cstdint>

#include "common/clock.h"
#include "common/peer_limits.h"

namespace thinkwire::router::fleet {

// What a worker's deeds tell of it, whatever its status says: how many requests of this router it
// has begun with, how many still wait there, and how it has failed lately.
//
// Places that it fills are believed, and kMaxProbes more: one that promises thousands and begins
// with nothing draws few requests from others. Who failed is distrusted for kFirstDistrust, twice
// as long after each further time without a success in between, kLastDistrust at most: others of
// its variant go first.
//
// The strong form of distrust is ejection, after Envoy's outlier detection
// (arch_overview/upstream/outlier): kFailuresToEject failures in a row, for a time that grows with
// the ejections in a row. What differs: failures are those of whole requests, which take seconds to
// minutes, so that fewer of them say enough (Envoy: 5), and one stream that hung says it alone; at
// most half of the others may be out (Envoy: a tenth), as a variant has few workers; who has served
// its time is back after a request of one token that nobody waits for, not by trying its luck with
// a client's; and is on probation until it succeeds: the next failure ejects it again, for longer.
// Who may be ejected, so that others are left, is not known here (Roster).
// Threads: one at a time.
class WorkerTrust {
 public:
  // Requests: it has one more, has begun with one, has one less.
  void Give() { ++waiting_; }
  void Begin();
  void TakeBack(bool begun) { --(begun ? begun_ : waiting_); }
  std::int64_t begun() const { return begun_; }

  // A request has come to its end. What was given to it before it was ejected does not count.
  void Succeed();

  enum class Failure : std::uint8_t {
    kOrdinary,  // it was lost, or broke the contract, or failed by itself
    kHung,      // it left a stream without a word
  };
  // A request that it was given at `given` has failed. False: it was given before the latest
  // failure that counted, and is one with it.
  bool Fail(Failure failure, Clock::TimePoint given, Clock::TimePoint now);
  bool deserves_ejection() const { return failures_ >= kFailuresToEject; }

  // It is out, and its probe due once its time is over. Returns the time.
  Clock::Duration Eject(Clock::TimePoint now);
  // It stood still: it is out until a probe is answered, which is due at once.
  void Suspect(Clock::TimePoint now);
  // It is needed, probe or not. REQUIRES: is_ejected.
  void Readmit() { out_ = Out::kNo; }

  bool is_out() const { return out_ != Out::kNo; }
  bool is_ejected() const { return out_ == Out::kEjected; }
  bool IsProbeDue(Clock::TimePoint now) const { return is_out() && now >= out_until_; }
  // The probe was answered, or was not: then it is out for longer.
  void EndProbe(bool answered, Clock::TimePoint now);

  // 0: it is trusted; the more, the less.
  static constexpr int kMostDistrust = 3;
  int Distrust(Clock::TimePoint now) const;

 private:
  enum class Out : std::uint8_t { kNo, kEjected, kSuspect };
  // For a time that grows with how often in a row.
  Clock::Duration StayOut(Clock::TimePoint now);

  std::int64_t waiting_ = 0;
  std::int64_t begun_ = 0;
  int failures_ = 0;   // in a row
  int ejections_ = 0;  // likewise
  Clock::TimePoint failed_at_;
  Clock::TimePoint distrusted_until_;
  Out out_ = Out::kNo;
  Clock::TimePoint out_until_;
};

}  // namespace thinkwire::router::fleet
