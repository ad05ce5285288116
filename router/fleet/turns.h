#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace thinkwire::router::fleet {

// Which places of a worker a request may have.
enum class Room : std::uint8_t {
  kNone,      // others wait, and are first
  kOrdinary,  // those that keep the worker busy
  kFirst,     // those too where requests wait for whom the worker's own shares then make way
};

// What the router's queue says of a request that asks the pool for a place. Called under the pool's
// lock: must not call the pool, nor block.
class Turns {
 public:
  virtual ~Turns() = default;

  // The one variant that it waits for; empty: it may go to any.
  virtual std::string_view only_variant() const { return ""; }
  // `places`: of all workers of the variant, at once.
  virtual Room RoomOf(const std::string& variant, std::int64_t places) const = 0;
  // What runs at the variant beyond its tenants' shares of the places: workers put it off for
  // others.
  virtual double SurplusAt(const std::string& variant, std::int64_t places) const = 0;
  // Requests that wait here for the variant.
  virtual std::size_t NumWaiting(const std::string& variant) const = 0;
};

}  // namespace thinkwire::router::fleet
