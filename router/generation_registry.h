#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "common/clock.h"
#include "common/mutex.h"
#include "common/rpc/call_count.h"
#include "common/strings.h"

namespace thinkwire::router {

class Generation;

// Which generations are alive, by their request's id: whoever has an id finds the generation, and
// whoever shuts down waits for the last one.
// Threads: any.
class GenerationRegistry {
 public:
  // One generation's place in the registry: found and waited for until it is destroyed or moved
  // from. Must be gone before its registry, which may go as soon as it is.
  class Entry {
   public:
    Entry() = default;
    Entry(Entry&& other) noexcept
        : owner_(std::exchange(other.owner_, nullptr)),
          request_id_(std::move(other.request_id_)),
          alive_(std::move(other.alive_)) {}
    Entry& operator=(Entry&& other) noexcept;
    ~Entry();

   private:
    friend class GenerationRegistry;
    Entry(GenerationRegistry* owner, std::string request_id, rpc::CallCount::Token alive)
        : owner_(owner), request_id_(std::move(request_id)), alive_(std::move(alive)) {}

    GenerationRegistry* owner_ = nullptr;
    std::string request_id_;
    rpc::CallCount::Token alive_;  // given back last, when the owner is needed no more
  };

  GenerationRegistry() = default;
  GenerationRegistry(const GenerationRegistry&) = delete;
  GenerationRegistry& operator=(const GenerationRegistry&) = delete;

  // REQUIRES: no other generation has that id now.
  [[nodiscard]] Entry Enter(const std::string& request_id, std::weak_ptr<Generation> generation);

  // Null: none that is alive has that id.
  std::shared_ptr<Generation> Find(std::string_view request_id) const;

  // Blocks until none is left, at most `timeout` by the machine's clock. False if some are.
  bool WaitUntilEmpty(Clock::Duration timeout) { return alive_.WaitUntilNone(timeout); }

 private:
  void Remove(const std::string& request_id);

  rpc::CallCount alive_;
  mutable Mutex mu_;
  std::unordered_map<std::string, std::weak_ptr<Generation>, StringHash, std::equal_to<>>
      generations_ ABSL_GUARDED_BY(mu_);
};

}  // namespace thinkwire::router
