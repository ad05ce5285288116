#include "router/fleet/prefix_index.h"

#include <openssl/rand.h>

#include <algorithm>
#include <utility>

#include "common/check.h"

namespace thinkwire::router::fleet {
namespace {

PrefixKey DrawKey() {
  PrefixKey key{};
  CHECK(RAND_bytes(key.data(), static_cast<int>(key.size())) == 1, "the system has random bytes");
  return key;
}

// The life has so many bytes at least.
void Keep(std::uint32_t life, double bytes, std::vector<PrefixIndex::Known>& known) {
  const auto found = std::ranges::find(known, life, &PrefixIndex::Known::life);
  if (found != known.end()) {
    found->bytes = std::max(found->bytes, bytes);
  } else if (known.size() < PrefixIndex::kMostLives) {
    known.push_back({.life = life, .bytes = bytes});
  }
}

}  // namespace

PrefixIndex::PrefixIndex(std::size_t max_marks) : key_(DrawKey()), max_marks_(max_marks) {
  CHECK(max_marks > 0, "an index has room for a mark");
}

std::vector<PrefixIndex::Known> PrefixIndex::Find(const decision::PromptMarks& marks) const {
  std::vector<Known> known;
  MutexLock lock(mu_);
  for (std::size_t i = marks.list.size(); i-- > 0;) {
    const auto found = index_.find(marks.list[i].hash);
    if (found == index_.end()) continue;
    for (const Holder& holder : found->second->holders) {
      if (holder.life == 0) break;
      Keep(holder.life, holder.share * static_cast<double>(marks.list[i].bytes), known);
    }
  }
  return known;
}

void PrefixIndex::Learn(const decision::PromptMarks& marks, std::uint32_t life,
                        double cached_bytes) {
  MutexLock lock(mu_);
  for (const decision::PromptMark& mark : marks.list) {
    const double found = std::min(1.0, cached_bytes / static_cast<double>(mark.bytes));
    Hold(life, found, Touch(mark.hash, marks.peer));
  }
}

std::size_t PrefixIndex::size() const {
  MutexLock lock(mu_);
  return index_.size();
}

double BytesOf(const std::vector<PrefixIndex::Known>& known, std::uint32_t life) {
  const auto found = std::ranges::find(known, life, &PrefixIndex::Known::life);
  return found == known.end() ? 0 : found->bytes;
}

// It moves to the front; one that was not there is taken for true until it is asked for.
void PrefixIndex::Hold(std::uint32_t life, double found, Mark& mark) {
  auto& holders = mark.holders;
  auto at = std::ranges::find(holders, life, &Holder::life);
  if (at == holders.end()) {
    at = std::prev(holders.end());
    *at = {.life = life};
  } else {
    at->share = (at->share + static_cast<float>(found)) / 2;
  }
  std::rotate(holders.begin(), at, std::next(at));
}

PrefixIndex::Mark& PrefixIndex::Touch(std::uint64_t hash, const std::string& peer) {
  if (!index_.contains(hash)) {
    if (index_.size() == max_marks_) DropOne();
    Add(hash, OwnerOf(peer));
  }
  const Marks::iterator mark = index_.at(hash);
  Marks& marks = mark->owner->marks;
  marks.splice(marks.end(), marks, mark);
  return *mark;
}

void PrefixIndex::Add(std::uint64_t hash, Owner& owner) {
  by_marks_.erase(owner.rank());
  index_[hash] = owner.marks.insert(owner.marks.end(), {.hash = hash, .owner = &owner});
  by_marks_.insert(owner.rank());
}

PrefixIndex::Owner& PrefixIndex::OwnerOf(const std::string& peer) {
  const auto [found, is_new] = owners_.try_emplace(peer);
  if (is_new) {
    found->second.name = peer;
    found->second.serial = ++last_serial_;
  }
  return found->second;
}

void PrefixIndex::DropOne() {
  Owner& owner = *std::get<Owner*>(*by_marks_.rbegin());
  by_marks_.erase(owner.rank());
  index_.erase(owner.marks.front().hash);
  owner.marks.pop_front();
  if (owner.marks.empty()) {
    owners_.erase(std::string(owner.name));
  } else {
    by_marks_.insert(owner.rank());
  }
}

}  // namespace thinkwire::router::fleet
