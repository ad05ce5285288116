#include "worker/parallel/group_watch.h"

#include <chrono>

namespace thinkwire::worker::parallel {
namespace {

constexpr auto kCheckEvery = std::chrono::milliseconds(100);

}  // namespace

GroupWatch::GroupWatch(std::span<const std::unique_ptr<Communicator>> communicators) {
  if (communicators.empty() || communicators.front()->size() < 2) return;
  for (const auto& communicator : communicators) {
    threads_.emplace_back([this, &communicator = *communicator] { Run(communicator); });
  }
}

GroupWatch::~GroupWatch() {
  {
    MutexLock lock(mu_);
    stop_ = true;
    stopped_.NotifyAll();
  }
  for (std::thread& thread : threads_) thread.join();
}

void GroupWatch::Run(Communicator& communicator) {
  do {
    communicator.Check();
  } while (WaitForNextCheck());
}

bool GroupWatch::WaitForNextCheck() {
  MutexLock lock(mu_);
  if (!stop_) stopped_.WaitFor(mu_, kCheckEvery);
  return !stop_;
}

}  // namespace thinkwire::worker::parallel
