#include "common/rpc/shares.h"

#include <algorithm>

#include "common/check.h"

namespace thinkwire::rpc {

void Shares::Held::Shrink(std::int64_t amount) {
  if (owner_ == nullptr || amount >= amount_) return;
  owner_->GiveBack(peer_, std::exchange(amount_, amount) - amount);
}

bool Shares::Held::Resize(std::int64_t amount) {
  if (amount > amount_ && !owner_->TryTake(peer_, amount - amount_)) return false;
  amount_ = std::max(amount, amount_);
  Shrink(amount);
  return true;
}

void Shares::Held::Keep(std::int64_t amount) {
  if (amount > amount_) owner_->TakeAnyway(peer_, amount - std::exchange(amount_, amount));
  Shrink(amount);
}

std::optional<Shares::Held> Shares::Take(const std::string& peer, std::int64_t amount) {
  CHECK(amount >= 0, "nobody takes less than nothing");
  if (!TryTake(peer, amount)) return std::nullopt;
  return Held(this, peer, amount);
}

Shares::Held Shares::TakeBeyond(const std::string& peer, std::int64_t amount) {
  if (amount > 0) TakeAnyway(peer, amount);
  return Held(this, peer, amount);
}

bool Shares::TryTake(const std::string& peer, std::int64_t amount) {
  MutexLock lock(mu_);
  const std::int64_t free = total_ - held_ - amount;
  if (free < 0) return false;
  const auto found = by_peer_.find(peer);
  const std::int64_t then = amount + (found == by_peer_.end() ? 0 : found->second);
  // One unit is nobody's undue share, however small the whole is.
  if (!peer.empty() && then > 1 && then > kAlpha * free) return false;
  held_ += amount;
  if (amount > 0) by_peer_[peer] = then;
  return true;
}

void Shares::TakeAnyway(const std::string& peer, std::int64_t amount) {
  MutexLock lock(mu_);
  held_ += amount;
  by_peer_[peer] += amount;
}

void Shares::GiveBack(const std::string& peer, std::int64_t amount) {
  MutexLock lock(mu_);
  const auto found = by_peer_.find(peer);
  CHECK(found != by_peer_.end() && found->second >= amount, "a peer gives back what it holds");
  held_ -= amount;
  found->second -= amount;
  if (found->second == 0) by_peer_.erase(found);
}

bool Shares::IsWithinShare(const std::string& peer) const {
  MutexLock lock(mu_);
  const auto found = by_peer_.find(peer);
  if (found == by_peer_.end()) return true;
  const std::int64_t free = total_ - held_;
  return peer.empty() ? free >= 0 : found->second <= std::max(std::int64_t{1}, kAlpha * free);
}

std::int64_t Shares::held() const {
  MutexLock lock(mu_);
  return held_;
}

std::int64_t Shares::held_by(const std::string& peer) const {
  MutexLock lock(mu_);
  const auto found = by_peer_.find(peer);
  return found == by_peer_.end() ? 0 : found->second;
}

}  // namespace thinkwire::rpc
