#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "common/mutex.h"
#include "worker/parallel/peer_link.h"

namespace thinkwire::worker::parallel {

// A group's connection between its leader and another of its processes, from the moment that the
// group is whole: hears what comes, and gives a sign of life twice a second.
// Owns: the link, two threads.
// Threads: Send and Part any.
// Fails: a peer that is lost, silent for the link's patience or wrong ends the process, with one
// line that names it: a group of which a part is missing is of no use.
class ControlLink {
 public:
  // What to do with a frame, on the link's hearing thread, which may wait; an error, in words that
  // follow the peer's name, ends the process.
  using Hear = std::function<absl::Status(Frame)>;
  // What a sign of life says, on the link's beating thread.
  using Beat = std::function<std::string()>;

  // `max_payload`: bytes of a frame that may come.
  ControlLink(std::unique_ptr<PeerLink> link, std::size_t max_payload, Hear hear, Beat beat);
  ~ControlLink();  // ends the connection
  ControlLink(const ControlLink&) = delete;
  ControlLink& operator=(const ControlLink&) = delete;

  // Returns when the machine has taken the frame.
  void Send(FrameKind kind, std::uint64_t step, std::span<const char> payload);

  // From now on the peer may go: the group ends in order. Idempotent.
  void Part();

 private:
  void RunHearing();
  void RunBeating();
  bool WaitForNextBeat();  // false: no more
  void EndUnlessParted(const absl::Status& status) const;

  const std::unique_ptr<PeerLink> link_;
  const std::size_t max_payload_;
  const Hear hear_;
  const Beat beat_;
  std::atomic<bool> parted_ = false;

  Mutex sending_;  // held while a frame is sent
  Mutex mu_;
  CondVar changed_;
  bool stop_ ABSL_GUARDED_BY(mu_) = false;
  std::thread hearing_;
  std::thread beating_;
};

}  // namespace thinkwire::worker::parallel
