#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "common/mutex.h"
#include "router/http/http_limits.h"
#include "router/http/message.h"

namespace thinkwire::router::http {

// One request's answer on its way from whoever makes it to the connection, which sends it as fast
// as the client reads: bounded, and one write at a time.
//
// Threads: any for who answers. The hooks and the connection's part run on the connection's strand,
// one at a time, without a lock held; they must not block.
class Exchange : public std::enable_shared_from_this<Exchange> {
 public:
  virtual ~Exchange() = default;

  // The whole answer: a head and its body. Only the first answer counts.
  void Respond(ResponseHead head, std::string body);

  // An answer in pieces: its head, then any number of Append, then End. Begin again: no effect.
  void Begin(ResponseHead head);
  // Whether a piece may be appended now, of any size. False: OnRoom follows once there is room,
  // unless the client is gone.
  bool HasRoom();
  // REQUIRES: Begin. No effect once it has ended.
  void Append(std::string_view text);
  void End();

  // Whether an answer has begun, or its client is gone.
  bool has_begun() const;

  // What the connection is to send next; all that waits.
  struct Output {
    std::optional<ResponseHead> head{};
    std::string body{};
    bool ends = false;  // nothing follows
  };

  // The connection's part. `notify` is called, on any thread, when there is something to take;
  // until Detach, which is the connection's last word: OnOver.
  void Attach(std::function<void()> notify);
  Output Take();
  // What was taken before is sent.
  void Sent();
  // The client is gone, or reads nothing.
  void Lose();
  // Nothing was sent for kKeepAliveInterval.
  virtual void OnIdle() {}
  void Detach();
  // Of the last answer's head; 0: none was begun.
  int status() const;

 protected:
  // There is room again, after HasRoom said no.
  virtual void OnRoom() {}
  // The client reads no more.
  virtual void OnGone() {}
  // The last hook: the answer is sent, or nobody is there for it.
  virtual void OnOver() {}

 private:
  void Notify();

  mutable Mutex mu_;
  std::function<void()> notify_ ABSL_GUARDED_BY(mu_);
  Output pending_ ABSL_GUARDED_BY(mu_);
  int status_ ABSL_GUARDED_BY(mu_) = 0;
  bool begun_ ABSL_GUARDED_BY(mu_) = false;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
  bool lost_ ABSL_GUARDED_BY(mu_) = false;
  bool told_ ABSL_GUARDED_BY(mu_) = false;     // the connection, of what is pending
  bool sending_ ABSL_GUARDED_BY(mu_) = false;  // what was taken last
  bool waits_ ABSL_GUARDED_BY(mu_) = false;    // for room
};

// One that is answered when it is made.
std::shared_ptr<Exchange> Answered(ResponseHead head, std::string body);

}  // namespace thinkwire::router::http
