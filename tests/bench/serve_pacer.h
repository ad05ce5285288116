#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "tests/bench/serve_options.h"

namespace thinkwire::bench {

// When requests are sent. Times are seconds since the load began. Threads: one.
class Pacer {
 public:
  virtual ~Pacer() = default;

  // When the next request is due, which may have passed; nullopt: not before one of the `in_flight`
  // has ended.
  virtual std::optional<double> NextDue(double now, std::int32_t in_flight) = 0;

  // That request was sent, or shed.
  virtual void Advance() = 0;
};

// As the options say: a closed loop, waves or an open loop.
std::unique_ptr<Pacer> MakePacer(const ServeOptions& options);

}  // namespace thinkwire::bench
