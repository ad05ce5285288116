#include "common/rpc/open_calls.h"

#include <grpcpp/server_context.h>
#include <malloc.h>
#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/end_level.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/rpc/peers.h"
#include "common/rpc/request_id.h"
#include "common/rpc/status_details.h"
#include "common/rpc/traceparent.h"

namespace thinkwire::rpc {
namespace {

constexpr Clock::Duration kLookEvery = std::chrono::milliseconds(250);
// A look at very many calls takes one part in so many of the time, unless that were too seldom.
constexpr int kLookRest = 20;
constexpr Clock::Duration kLookAtLeastEvery = std::chrono::seconds(1);

// Freed memory of so many calls, or of so many bytes, is worth a walk through the allocator now and
// then; that of fewer is after a minute.
constexpr std::int64_t kTrimAfterCalls = 1000;
constexpr std::size_t kTrimAfterBytes = std::size_t{16} << 20;
constexpr Clock::Duration kTrimEvery = std::chrono::seconds(5);
constexpr Clock::Duration kTrimAnyway = std::chrono::seconds(60);

// Of tests whose limits are short: a tenth of the shortest.
Clock::Duration LookEvery(const ServerCall::Limits& limits) {
  return std::min(kLookEvery, std::min({limits.message, limits.reader, limits.goodbye}) / 10);
}

absl::Status Draining() {
  return WithRetryAfter(Error(absl::StatusCode::kUnavailable, "DRAINING",
                              "the server is shutting down and takes no new calls"));
}

// A call that ends at once.
class RefusedCall final : public ServerCall {
 public:
  explicit RefusedCall(RefusedCalls::Call counted) : ServerCall(1), counted_(std::move(counted)) {}

 private:
  void OnMessage(grpc::ByteBuffer /*message*/) override {}
  void OnEnded() override { counted_ = {}; }

  RefusedCalls::Call counted_;  // until it is over
};

void LogRefusal(const grpc::CallbackServerContext& context, const RequestId& id,
                const absl::Status& status, std::string_view share_key) {
  Log(LevelOfEnd(status.code()), "call refused",
      {{"request_id", id.own},
       {"x_request_id", id.of_client},
       {"traceparent", TraceparentOf(context)},
       {"peer", context.peer()},
       {"code", absl::StatusCodeToString(status.code())},
       {"reason", ErrorReason(status)}},
      RequestLogRate(share_key));
}

prometheus::Counter& AddCounter(Metrics& metrics, const std::string& name,
                                const std::string& help) {
  return prometheus::BuildCounter()
      .Name(absl::StrCat(metrics.prefix(), name))
      .Help(help)
      .Register(metrics.registry())
      .Add({});
}

}  // namespace

OpenCalls::OpenCalls(Options options)
    : options_(std::move(options)),
      look_every_(LookEvery(options_.limits)),
      refused_calls_(options_.max_refused_calls),
      places_(options_.max_calls, options_.trusted_peers),
      queued_bytes_(static_cast<std::int64_t>(options_.limits.all_queued_bytes)),
      trimmed_at_(Clock::Real().Now()) {
  if (Metrics* const metrics = options_.metrics; metrics != nullptr) {
    open_ = &prometheus::BuildGauge()
                 .Name(metrics->prefix() + "_open_calls")
                 .Help("Calls from their headers to their very end")
                 .Register(metrics->registry())
                 .Add({});
    refused_ = &AddCounter(*metrics, "_refused_calls_total",
                           "Calls that were refused, as there were too many");
    cut_ = &AddCounter(*metrics, "_unread_calls_total",
                       "Calls that were cut off, as their client read nothing");
    closed_ = &AddCounter(*metrics, "_closed_connections_total",
                          "Connections that were closed, as they reset most of their calls, or "
                          "nobody read that they were refused");
  }
  thread_ = std::thread([this] { Run(); });
}

OpenCalls::~OpenCalls() {
  {
    MutexLock lock(mu_);
    CHECK(calls_.empty(), "the server waits for its calls");
    stopping_ = true;
    wake_.NotifyAll();
  }
  thread_.join();
}

absl::Status OpenCalls::TooMany() const {
  return WithRetryAfter(
      Error(absl::StatusCode::kResourceExhausted, "TOO_MANY_CALLS",
            absl::StrCat("this client's share of ", options_.max_calls, " open calls is used up")));
}

std::string OpenCalls::ShareKey(const std::string& peer) const {
  return options_.trusted_peers.ShareKey(peer);
}

std::optional<Shares::Held> OpenCalls::TakeQueued(const std::string& key, std::size_t bytes,
                                                  bool must) {
  const auto amount = static_cast<std::int64_t>(bytes);
  if (must) return queued_bytes_.TakeBeyond(key, amount);
  return queued_bytes_.Take(key, amount);
}

absl::Status OpenCalls::Admit(const std::string& peer) const {
  if (shutting_down()) return Draining();
  const int limit = options_.max_of_connection;
  if (options_.connections == nullptr || options_.connections->CallsOf(peer) < limit ||
      options_.forwarders.Contain(peer)) {
    return absl::OkStatus();
  }
  return WithRetryAfter(Error(absl::StatusCode::kResourceExhausted, "TOO_MANY_CALLS",
                              absl::StrCat("this connection has ", limit, " open calls")));
}

// As HTTP/2 counts them: RFC 9113, section 6.5.2.
absl::Status OpenCalls::CheckMetadata(const grpc::CallbackServerContext& context) const {
  constexpr std::size_t kEntryBytes = 32;
  std::size_t bytes = 0;
  for (const auto& [key, value] : context.client_metadata()) {
    bytes += key.size() + value.size() + kEntryBytes;
  }
  if (bytes <= options_.max_metadata_bytes) return absl::OkStatus();
  return Error(absl::StatusCode::kResourceExhausted, "METADATA_TOO_LARGE",
               absl::StrCat("the call's metadata has ", bytes, " bytes, of at most ",
                            options_.max_metadata_bytes, " (--max_metadata_bytes)"));
}

ServerCall* OpenCalls::Launch(grpc::CallbackServerContext& context, const Make& make) {
  const std::string peer = context.peer();
  if (absl::Status status = Admit(peer); !status.ok()) return Refuse(context, std::move(status));
  if (absl::Status status = CheckMetadata(context); !status.ok()) {
    return Refuse(context, std::move(status));
  }
  std::optional<Shares::Held> place = places_.Take(peer);
  if (!place) return Refuse(context, TooMany());
  ServerCall* const call = Enter(context, make(context), *std::move(place));
  call->Begin();
  return call;
}

ServerCall* OpenCalls::Refuse(grpc::CallbackServerContext& context, absl::Status status) {
  if (refused_ != nullptr && absl::IsResourceExhausted(status)) refused_->Increment();
  const std::string peer = context.peer();
  const RequestId id = NameCall(context);
  LogRefusal(context, id, status, ShareKey(peer));
  ServerCall* const call = Enter(context, MakeRefused(peer), {});
  call->Refuse(WithMetadata(std::move(status), kRequestIdOfError, id.own));
  if (const auto unread = refused_calls_.TakeWorst()) {
    Close(*unread, "a connection is closed: nobody reads that its calls are refused");
  }
  return call;
}

std::shared_ptr<ServerCall> OpenCalls::MakeRefused(const std::string& peer) {
  return std::make_shared<RefusedCall>(
      SpeaksForMany(peer) ? RefusedCalls::Call() : refused_calls_.Begin(ShareKey(peer), peer));
}

ServerCall* OpenCalls::Enter(grpc::CallbackServerContext& context, std::shared_ptr<ServerCall> call,
                             Shares::Held place) {
  ServerCall* const entered = call.get();
  ConnectionTable::Call of_connection;
  if (options_.connections != nullptr) {
    of_connection = options_.connections->BeginCall(context.peer());
  }
  entered->Attach(*this, context, std::move(place), std::move(of_connection));
  MutexLock lock(mu_);
  calls_.emplace(entered, std::move(call));
  CountOpen();
  if (calls_.size() == 1) wake_.NotifyAll();
  return entered;
}

void OpenCalls::End(ServerCall& call) {
  if (ResetsTooMuch(call)) {
    Close(call.peer(),
          "a connection is closed: it resets most of its calls before they are answered");
  }
  std::shared_ptr<ServerCall> last;
  MutexLock lock(mu_);
  ++ended_since_trim_;
  bytes_since_trim_ += call.message_bytes();
  last = std::move(calls_.extract(&call).mapped());
  CountOpen();
  // Told under the lock: once it is free, the thread that waits may destroy this object.
  if (calls_.empty()) none_.NotifyAll();
}

bool OpenCalls::ResetsTooMuch(const ServerCall& call) {
  const bool reset = call.was_reset();
  const bool streamed = call.has_streamed();
  if (!reset && !streamed) return false;
  // Many users' calls share such a connection; who sends them answers for them himself.
  if (SpeaksForMany(call.peer())) return false;
  const std::string peer = PeerKey(call.peer());
  MutexLock lock(mu_);
  const Clock::TimePoint now = Clock::Real().Now();
  if (streamed) resets_.CountStream(peer, now);
  return reset && resets_.CountReset(peer, now);
}

bool OpenCalls::SpeaksForMany(const std::string& peer) const {
  return options_.trusted_peers.Contain(peer) || options_.forwarders.Contain(peer);
}

void OpenCalls::Close(const std::string& peer, std::string_view why) {
  // Its calls' ends may look like resets once it is closed.
  if (options_.connections == nullptr || !options_.connections->Close(peer)) return;
  LogWarning(why, {{"peer", peer}});
  if (closed_ != nullptr) closed_->Increment();
}

void OpenCalls::CountOpen() {
  if (open_ != nullptr) open_->Set(static_cast<double>(calls_.size()));
}

bool OpenCalls::shutting_down() const {
  MutexLock lock(mu_);
  return ends_at_.has_value();
}

void OpenCalls::ShutDown(Clock::Duration grace) {
  MutexLock lock(mu_);
  ends_at_ = Clock::Real().Now() + grace;
  look_at_once_ = true;
  wake_.NotifyAll();
}

void OpenCalls::WaitUntilNone() {
  MutexLock lock(mu_);
  while (!calls_.empty()) none_.Wait(mu_);
}

std::size_t OpenCalls::size() const {
  MutexLock lock(mu_);
  return calls_.size();
}

void OpenCalls::Run() {
  Clock::Duration took{};
  while (WaitForLook(std::max(look_every_, std::min(kLookRest * took, kLookAtLeastEvery)))) {
    const Clock::TimePoint now = Clock::Real().Now();
    LookAtAll(now);
    took = Clock::Real().Now() - now;
    TrimIfDue(now);
  }
}

// False: there is nothing to look at any more.
bool OpenCalls::WaitForLook(Clock::Duration wait) {
  MutexLock lock(mu_);
  while (!stopping_ && calls_.empty() && ended_since_trim_ == 0) wake_.Wait(mu_);
  const Clock::TimePoint next = Clock::Real().Now() + wait;
  while (!stopping_ && !look_at_once_) {
    const Clock::Duration left = next - Clock::Real().Now();
    if (left <= Clock::Duration::zero()) break;
    wake_.WaitFor(mu_, left);
  }
  look_at_once_ = false;
  return !stopping_;
}

void OpenCalls::LookAtAll(Clock::TimePoint now) {
  std::vector<std::shared_ptr<ServerCall>> calls;
  std::optional<Clock::TimePoint> ends_at;
  {
    MutexLock lock(mu_);
    resets_.Forget(now);
    ends_at = ends_at_;
    calls.reserve(calls_.size());
    for (const auto& [key, call] : calls_) calls.push_back(call);
  }
  for (const auto& call : calls) {
    if (ends_at && now >= *ends_at) call->Dismiss(Draining());
    if (call->Look(now, options_.limits, ends_at.has_value()) && cut_ != nullptr) cut_->Increment();
  }
}

void OpenCalls::TrimIfDue(Clock::TimePoint now) {
  {
    MutexLock lock(mu_);
    if (!TrimIsDue(now)) return;
    ended_since_trim_ = 0;
    bytes_since_trim_ = 0;
  }
  trimmed_at_ = now;
  malloc_trim(0);
}

bool OpenCalls::TrimIsDue(Clock::TimePoint now) {
  const bool much = ended_since_trim_ >= kTrimAfterCalls || bytes_since_trim_ >= kTrimAfterBytes;
  return ended_since_trim_ > 0 && now - trimmed_at_ >= (much ? kTrimEvery : kTrimAnyway);
}

}  // namespace thinkwire::rpc
