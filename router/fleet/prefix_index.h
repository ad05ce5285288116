#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "common/mutex.h"
#include "common/peer_limits.h"
#include "router/decision/prompt_marks.h"

namespace thinkwire::router::fleet {

// Under which prompts are hashed into marks.
using PrefixKey = std::array<unsigned char, 16>;

// Which workers have computed which beginnings of prompts, and so may have them still.
//
// A worker is known here by its life, a number that it gets anew whenever its cache may be gone;
// what is believed of a life that is over is never asked for again, and is forgotten as the rest is
// in its time. What a worker says of a prompt corrects what was believed of its marks: each has the
// share of it that was found there, a mean in which the latest counts for half. So a belief that
// proves false again and again comes to nothing, whoever caused that, and nobody's but its own.
//
// At most `max_marks`, of kMostLives lives each. When one must go, whoever has most loses the one
// that he has not used for longest, as with blocks of a worker's cache (engine::KeptShares): who
// fills the index drives out his own marks first.
//
// The key is drawn here and never told: who knew it could look for two prompts of one hash, and
// have his own taken for another's. That would gain him little (a worker that is chosen in vain,
// within the bound on load), as hashes begin with the salt of those who may share; with
// --share_prefixes that is nobody's secret, and the key is all there is.
// Threads: any. Cost: O(marks of the prompt).
class PrefixIndex {
 public:
  static constexpr std::size_t kMostLives = 8;  // of a mark: those that used it last

  explicit PrefixIndex(std::size_t max_marks = kMaxPrefixMarks);
  PrefixIndex(const PrefixIndex&) = delete;
  PrefixIndex& operator=(const PrefixIndex&) = delete;

  const PrefixKey& key() const { return key_; }

  struct Known {
    std::uint32_t life = 0;
    double bytes = 0;  // of the prompt, as expected of what its marks were found to be worth
  };
  // Who has some of the prompt, at most kMostLives.
  std::vector<Known> Find(const decision::PromptMarks& marks) const;

  // The worker of that life has begun with the prompt, of which it had `cached_bytes` already. It
  // has all of it now.
  void Learn(const decision::PromptMarks& marks, std::uint32_t life, double cached_bytes);

  std::size_t size() const;  // marks

 private:
  struct Holder {
    std::uint32_t life = 0;  // 0: none
    float share = 1;         // that was found of it
  };
  struct Owner;
  struct Mark {
    std::uint64_t hash = 0;
    Owner* owner = nullptr;                    // whoever brought it
    std::array<Holder, kMostLives> holders{};  // the latest first
  };
  using Marks = std::list<Mark>;
  using Rank = std::tuple<std::size_t, std::uint64_t, Owner*>;  // marks, serial
  struct Owner {
    std::string name;
    std::uint64_t serial = 0;
    Marks marks{};  // the one that was not used for longest first

    Rank rank() { return {marks.size(), serial, this}; }
  };

  static void Hold(std::uint32_t life, double found, Mark& mark);
  // The mark, newly made if it is not known, as its owner's latest.
  Mark& Touch(std::uint64_t hash, const std::string& peer) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Add(std::uint64_t hash, Owner& owner) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Owner& OwnerOf(const std::string& peer) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void DropOne() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const PrefixKey key_;
  const std::size_t max_marks_;
  mutable Mutex mu_;
  std::unordered_map<std::string, Owner> owners_ ABSL_GUARDED_BY(mu_);  // who have marks
  std::uint64_t last_serial_ ABSL_GUARDED_BY(mu_) = 0;
  std::set<Rank> by_marks_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<std::uint64_t, Marks::iterator> index_ ABSL_GUARDED_BY(mu_);
};

// What the life has of them; 0: nothing.
double BytesOf(const std::vector<PrefixIndex::Known>& known, std::uint32_t life);

}  // namespace thinkwire::router::fleet
