#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "common/clock.h"
#include "common/rpc/shares.h"

namespace thinkwire::worker::serve {

// The prompts that wait to be read, in an order that is fair to peers and kind to short prompts.
//
// Between peers: self-clocked fair queueing (Golestani, "A Self-Clocked Fair Queueing Scheme for
// Broadband Applications", INFOCOM 1994), where a prompt of b bytes costs c(b) = b +
// kBytesPerPrompt and V is the virtual time, 0 at first:
//   a peer that had nothing waiting begins at  S = V,
//   the next to run is the prompt of the peer whose  F = S + c(b)  is least,
//   when it is taken,  V = max(V, F)  and that peer's  S = F.
// So peers that have something waiting get equal parts of the bytes that are read, whatever each
// has waiting; who had nothing waiting comes after what the others may still take before its own F:
// behind each other peer's prompts of c(b) bytes and one more. Nobody's part is saved up.
//
// Within a peer: by due time, the arrival and kDelayPerByte for each byte. So a prompt of 1 MiB
// lets pass what its peer sends within a second, and nothing waits for ever. Cost: a pass over the
// peers that have something waiting, for each that is taken. Threads: one at a time.
class PromptQueue {
 public:
  // Some ten times what R1's tokenizer takes, the slowest, and three times its slowest inputs.
  static constexpr Clock::Duration kDelayPerByte = std::chrono::microseconds(1);
  // What a prompt costs however short it is: parsing, checking and handing it over.
  static constexpr std::int64_t kBytesPerPrompt = 1024;

  enum class Length : std::uint8_t { kShort, kLong };
  struct Job {
    std::function<void()> run;
    rpc::Shares::Held place;  // among those that wait
  };
  struct Taken {
    Job job;
    Length length;
  };

  // `job` came at `now` from `peer`.
  void Add(const std::string& peer, std::size_t bytes, Length length, Clock::TimePoint now,
           Job job);

  // The next to run, of the short ones unless `long_too`; nothing if none waits.
  std::optional<Taken> Take(bool long_too);

  bool empty() const { return peers_.empty(); }

 private:
  struct Prompt {
    std::int64_t cost = 0;  // bytes
    Length length = Length::kShort;
    Job job;
  };
  // By due time; those of one time in the order of their arrival.
  using Line = std::multimap<Clock::TimePoint, Prompt>;
  struct Peer {
    std::int64_t start = 0;  // S
    Line short_prompts{};
    Line long_prompts{};
    bool empty() const { return short_prompts.empty() && long_prompts.empty(); }
  };
  using Peers = std::map<std::string, Peer>;

  // The line whose first prompt is the peer's next; null if that is none.
  static Line* NextLine(Peer& peer, bool long_too);

  std::int64_t virtual_time_ = 0;  // V
  Peers peers_;                    // that have something waiting: no other's F is beyond V
};

}  // namespace thinkwire::worker::serve
