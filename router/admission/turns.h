#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "router/admission/dispatch_queue.h"
#include "router/fleet/turns.h"

namespace thinkwire::router::admission {

// What the queue says of a request of the tenant that has just come. Borrows both.
class TurnsOfNew final : public fleet::Turns {
 public:
  TurnsOfNew(DispatchQueue& queue, const std::string& tenant) : queue_(queue), tenant_(tenant) {}
  fleet::Room RoomOf(const std::string& variant, std::int64_t places) const override {
    return queue_.RoomOfNew(variant, tenant_, places);
  }
  double SurplusAt(const std::string& variant, std::int64_t places) const override {
    return queue_.SurplusAt(variant, places);
  }
  std::size_t NumWaiting(const std::string& variant) const override {
    return queue_.NumWaiting(variant);
  }

 private:
  DispatchQueue& queue_;
  const std::string& tenant_;
};

// Of one whose turn it is at the variant: nobody waits before it. Borrows all.
class TurnsOfFirst final : public fleet::Turns {
 public:
  TurnsOfFirst(DispatchQueue& queue, const std::string& tenant, const std::string& variant)
      : queue_(queue), tenant_(tenant), variant_(variant) {}
  std::string_view only_variant() const override { return variant_; }
  fleet::Room RoomOf(const std::string& variant, std::int64_t places) const override {
    return queue_.RoomAtTurn(variant, tenant_, places);
  }
  double SurplusAt(const std::string& variant, std::int64_t places) const override {
    return queue_.SurplusAt(variant, places);
  }
  std::size_t NumWaiting(const std::string& /*variant*/) const override { return 0; }

 private:
  DispatchQueue& queue_;
  const std::string& tenant_;
  const std::string& variant_;
};

}  // namespace thinkwire::router::admission
