#include "router/http/exchange.h"

#include <utility>

#include "common/strings.h"

namespace thinkwire::router::http {

void Exchange::Respond(ResponseHead head, std::string body) {
  {
    MutexLock lock(mu_);
    if (begun_ || lost_) return;
    begun_ = ended_ = true;
    status_ = head.status;
    if (!head.content_length) head.content_length = body.size();
    pending_ = {.head = std::move(head), .body = std::move(body), .ends = true};
  }
  Notify();
}

void Exchange::Begin(ResponseHead head) {
  {
    MutexLock lock(mu_);
    if (begun_ || lost_) return;
    begun_ = true;
    status_ = head.status;
    pending_.head = std::move(head);
  }
  Notify();
}

bool Exchange::HasRoom() {
  MutexLock lock(mu_);
  waits_ = pending_.body.size() >= kMaxPendingBytes;
  return !waits_;
}

void Exchange::Append(std::string_view text) {
  if (text.empty()) return;
  {
    MutexLock lock(mu_);
    if (ended_ || lost_) return;
    pending_.body.append(text);
  }
  Notify();
}

void Exchange::End() {
  {
    MutexLock lock(mu_);
    if (ended_ || lost_) return;
    ended_ = true;
    pending_.ends = true;
  }
  Notify();
}

bool Exchange::has_begun() const {
  MutexLock lock(mu_);
  return begun_ || lost_;
}

int Exchange::status() const {
  MutexLock lock(mu_);
  return status_;
}

// Not while a write is under way: its end looks again.
void Exchange::Notify() {
  std::function<void()> notify;
  {
    MutexLock lock(mu_);
    if (sending_ || told_ || !notify_) return;
    told_ = true;
    notify = notify_;
  }
  notify();
}

void Exchange::Attach(std::function<void()> notify) {
  MutexLock lock(mu_);
  notify_ = std::move(notify);
}

Exchange::Output Exchange::Take() {
  MutexLock lock(mu_);
  told_ = false;
  Output taken = std::exchange(pending_, {});
  sending_ = taken.head || !taken.body.empty() || taken.ends;
  return taken;
}

void Exchange::Sent() {
  bool tells = false;
  {
    MutexLock lock(mu_);
    sending_ = false;
    tells = waits_ && !lost_ && pending_.body.size() <= kMaxPendingBytes / 2;
    if (tells) waits_ = false;
  }
  if (tells) OnRoom();
}

void Exchange::Lose() {
  {
    MutexLock lock(mu_);
    if (std::exchange(lost_, true)) return;
    pending_ = {};
  }
  OnGone();
}

void Exchange::Detach() {
  {
    MutexLock lock(mu_);
    notify_ = nullptr;
    lost_ = true;
  }
  OnOver();
}

std::shared_ptr<Exchange> Answered(ResponseHead head, std::string body) {
  auto exchange = std::make_shared<Exchange>();
  exchange->Respond(std::move(head), std::move(body));
  return exchange;
}

}  // namespace thinkwire::router::http
