#include "worker/parallel/control_link.h"

#include <chrono>
#include <utility>

#include "common/status.h"
#include "worker/kernels/end_process.h"

namespace thinkwire::worker::parallel {
namespace {

constexpr std::chrono::milliseconds kBeatEvery{500};

}  // namespace

ControlLink::ControlLink(std::unique_ptr<PeerLink> link, std::size_t max_payload, Hear hear,
                         Beat beat)
    : link_(std::move(link)),
      max_payload_(max_payload),
      hear_(std::move(hear)),
      beat_(std::move(beat)),
      hearing_([this] { RunHearing(); }),
      beating_([this] { RunBeating(); }) {}

ControlLink::~ControlLink() {
  Part();
  {
    const MutexLock lock(mu_);
    stop_ = true;
    changed_.NotifyAll();
  }
  link_->ShutDown();
  hearing_.join();
  beating_.join();
}

void ControlLink::Send(FrameKind kind, std::uint64_t step, std::span<const char> payload) {
  const MutexLock lock(sending_);
  EndUnlessParted(link_->Send(kind, step, payload));
}

void ControlLink::Part() { parted_ = true; }

void ControlLink::RunHearing() {
  for (;;) {
    absl::StatusOr<Frame> frame = link_->ReceiveAny(max_payload_);
    const absl::Status heard =
        frame.ok() ? Annotate(hear_(*std::move(frame)), link_->peer()) : frame.status();
    EndUnlessParted(heard);
    if (!heard.ok()) return;
  }
}

void ControlLink::RunBeating() {
  do {
    Send(FrameKind::kBeat, 0, beat_());
  } while (WaitForNextBeat());
}

bool ControlLink::WaitForNextBeat() {
  const MutexLock lock(mu_);
  if (!stop_) changed_.WaitFor(mu_, kBeatEvery);
  return !stop_;
}

void ControlLink::EndUnlessParted(const absl::Status& status) const {
  if (status.ok() || parted_) return;
  const std::string message(status.message());
  kernels::EndProcess("the group is broken: %s", message.c_str());
}

}  // namespace thinkwire::worker::parallel
