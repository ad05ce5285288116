#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "thinkwire/v1/reasoning.pb.h"

namespace thinkwire::router::client {

// Puts the events of a stream of several outputs in the order in which a person reads them: output
// after output. What comes of an output before its turn is kept, as text: at most all outputs but
// one. Events that are of no output stay where they are. Threads: one.
class OutputOrder {
 public:
  using Events = std::vector<v1::GenerateResponse>;

  // The next event of the stream. What is to be shown now, in order; perhaps nothing.
  Events Add(const v1::GenerateResponse& event);

  // No more comes, perhaps in the middle: what was kept.
  Events TakeRest();

 private:
  void TakeTurns(Events& shown);

  std::int32_t turn_ = 0;                // whose it is
  std::map<std::int32_t, Events> kept_;  // of outputs whose turn is yet to come
};

}  // namespace thinkwire::router::client
