#include "router/generation_registry.h"

#include "common/check.h"

namespace thinkwire::router {

GenerationRegistry::Entry& GenerationRegistry::Entry::operator=(Entry&& other) noexcept {
  std::swap(owner_, other.owner_);
  std::swap(request_id_, other.request_id_);
  std::swap(alive_, other.alive_);
  return *this;
}

GenerationRegistry::Entry::~Entry() {
  if (owner_ != nullptr) owner_->Remove(request_id_);
}

GenerationRegistry::Entry GenerationRegistry::Enter(const std::string& request_id,
                                                    std::weak_ptr<Generation> generation) {
  MutexLock lock(mu_);
  const bool is_new = generations_.emplace(request_id, std::move(generation)).second;
  CHECK(is_new, "every request has an id of its own");
  return Entry(this, request_id, alive_.Begin());
}

std::shared_ptr<Generation> GenerationRegistry::Find(std::string_view request_id) const {
  MutexLock lock(mu_);
  const auto found = generations_.find(request_id);
  return found == generations_.end() ? nullptr : found->second.lock();
}

void GenerationRegistry::Remove(const std::string& request_id) {
  MutexLock lock(mu_);
  generations_.erase(request_id);
}

}  // namespace thinkwire::router
