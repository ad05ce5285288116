#pragma once

#include <cstdint>

namespace thinkwire::worker::engine {

// One who asks, while he has sequences: what he holds of what all share. Whom Request::peer names.
struct Peer {
  std::int32_t sequences = 0;  // of any state
  std::int32_t running = 0;    // of them, kRunning
  // The last step planned before one of his got a slot, or was done with it.
  std::uint64_t served_step = 0;
};

}  // namespace thinkwire::worker::engine
