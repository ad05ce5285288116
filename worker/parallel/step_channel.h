#pragma once

#include <memory>

namespace thinkwire::worker::parallel {

// Carries steps from the engine's thread to every rank, in order. Whoever starts the process
// decides how: between its threads (LocalStepChannel), or, in a room that knows the network, to
// other hosts. Step is flat data.
template <class Step>
class StepChannel {
 public:
  virtual ~StepChannel() = default;

  // Gives `step` to all ranks; waits while a rank lags by the channel's capacity.
  virtual void Send(std::shared_ptr<const Step> step) = 0;

  // The next step of rank `rank` of this process, waiting for one; null once the channel is closed
  // and drained.
  virtual std::shared_ptr<const Step> Receive(int rank) = 0;

  // No Send after this. Idempotent.
  virtual void Close() = 0;
};

}  // namespace thinkwire::worker::parallel
