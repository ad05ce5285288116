// Tenants' limits and the router's queue, over sockets: fake workers whose calls last until the
// test ends them.

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>
#include <prometheus/registry.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/rpc/channel.h"
#include "common/rpc/grpc_server.h"
#include "common/rpc/proto_time.h"
#include "common/rpc/status_details.h"
#include "router/callers.h"
#include "router/catalog.h"
#include "router/service.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_worker.h"
#include "tests/fakes/test_ca.h"
#include "tests/router/fleet/pool_fixture.h"

namespace thinkwire::router {
namespace {

// SHA-256 of 64 times the letter.
constexpr char kOfA[] = "sha256:ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb";
constexpr char kOfB[] = "sha256:a0fab1377f49a759b57f63318262ebe89fabfc990e8e93ceac2984561482b9d4";

// A call of the tenant whose key is so many times the letter.
class Call {
 public:
  struct Options {
    v1::Priority priority = v1::PRIORITY_UNSPECIFIED;
    std::optional<std::chrono::milliseconds> deadline{};  // which travels rounded if it is far
    int max_tokens = 0;
    int n = 0;
    int samples = 0;  // of a consensus
    bool progress = false;
  };
  Call(v1::ReasoningService::Stub& stub, char tenant, const Options& options) {
    context_.AddMetadata("authorization", absl::StrCat("Bearer ", std::string(64, tenant)));
    if (options.deadline) {
      context_.set_deadline(std::chrono::system_clock::now() + *options.deadline);
    }
    v1::GenerateRequest request;
    request.mutable_prompt()->set_text("1+1?");
    request.set_priority(options.priority);
    if (options.max_tokens > 0) request.set_max_tokens(options.max_tokens);
    if (options.n > 0) request.set_n(options.n);
    if (options.samples > 0) request.mutable_consensus()->set_max_samples(options.samples);
    request.set_progress(options.progress);
    reader_ = stub.Generate(&context_, request);
  }
  ~Call() { Cancel(); }

  // The next event; nothing at the end.
  std::optional<v1::GenerateResponse> Next() {
    v1::GenerateResponse event;
    if (!reader_->Read(&event)) return std::nullopt;
    return event;
  }
  // The next Queued of the router; nothing if anything else comes first.
  std::optional<v1::Queued> NextQueued() {
    const auto event = Next();
    if (!event || !event->has_queued()) return std::nullopt;
    return event->queued();
  }
  // Whether a worker begins with it: what comes before are its places in the queue.
  bool Starts() {
    for (auto event = Next(); event; event = Next()) {
      if (event->has_started()) return true;
    }
    return false;
  }
  void Cancel() {
    context_.TryCancel();
    if (!ended_) static_cast<void>(Status());
  }
  absl::Status Status() {
    while (Next()) {
    }
    ended_ = true;
    return rpc::FromGrpc(reader_->Finish());
  }
  std::string Trailer(const std::string& key) const {
    const auto& trailers = context_.GetServerTrailingMetadata();
    const auto found = trailers.find(key);
    return found == trailers.end() ? "" : std::string(found->second.data(), found->second.size());
  }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::GenerateResponse>> reader_;
  bool ended_ = false;
};

// A router of one variant with one worker of one place.
class OverloadTest : public testing::Test {
 protected:
  void Start(const std::string& tenants) {
    auto script = SmallStream();
    script.resize(2);  // Queued, Started
    worker_.SetScript({.events = {script[1]}, .stays_open = true});
    worker_.SetStatus([](auto& status) { status.set_max_num_seqs(1); });
    callers_ = *Callers::Load(folder_.Write("keys", tenants));
    service_.emplace(ReasoningService::Shared{.catalog = catalog_,
                                              .pool = *pool_,
                                              .metrics = metrics_,
                                              .clock = *clock_,
                                              .resume_wait = {},
                                              .callers = callers_.get()});
    server_ = *rpc::GrpcServer::Start(
        {.listen = "127.0.0.1:0", .services = {&*service_}, .admit = [this](const auto& call) {
           return service_->Admit(call);
         }});
    stub_ = v1::ReasoningService::NewStub(
        rpc::MakeChannel(absl::StrCat("127.0.0.1:", server_->port())));
    ASSERT_TRUE(pool_.TickUntilLive());
  }
  void TearDown() override {
    calls_.clear();
    if (server_) server_->Shutdown(std::chrono::seconds(0));
  }

  Call& Begin(char tenant, const Call::Options& options = {}) {
    return *calls_.emplace_back(std::make_unique<Call>(*stub_, tenant, options));
  }
  // As many of the tenant as go to the worker without waiting: its places are taken then.
  std::vector<Call*> Fill(char tenant = 'a') {
    std::vector<Call*> calls;
    for (int i = 0; i < 1 + LookAhead(1); ++i) {
      calls.push_back(&Begin(tenant));
      EXPECT_TRUE(calls.back()->Starts());
    }
    return calls;
  }
  // Its place in the queue, as it enters.
  int PlaceOf(Call& call) {
    const auto queued = call.NextQueued();
    return queued ? queued->position() : -1;
  }
  double Metric(const std::string& name) {
    double sum = 0;
    for (const auto& family : registry_.Collect()) {
      if (family.name != name) continue;
      for (const auto& metric : family.metric) sum += metric.gauge.value + metric.counter.value;
    }
    return sum;
  }

  FakeClock fake_clock_;
  const Clock* clock_ = &Clock::Real();  // the service's
  TlsFolder folder_;
  FakeWorker worker_{"qwen-7b"};
  const RouterConfig config_{.variants = {{.name = "qwen-7b", .workers = {worker_.address()}}}};
  prometheus::Registry registry_;
  RouterMetrics metrics_{registry_, {"qwen-7b"}};
  const CurrentCatalog catalog_{std::make_shared<const Catalog>(config_)};
  fleet::PoolUnderTest pool_{config_.variants, Clock::Real()};
  std::unique_ptr<Callers> callers_;
  std::optional<ReasoningService> service_;
  std::unique_ptr<rpc::GrpcServer> server_;
  std::unique_ptr<v1::ReasoningService::Stub> stub_;
  std::vector<std::unique_ptr<Call>> calls_;
};

TEST_F(OverloadTest, WhoFindsNoPlaceWaitsInTheRouterAndGoesWhenOneIsFree) {
  Start(absl::StrCat("a ", kOfA));
  const auto running = Fill();
  Call& first = Begin('a');
  EXPECT_EQ(PlaceOf(first), 0);
  Call& second = Begin('a');
  EXPECT_EQ(PlaceOf(second), 1);
  EXPECT_EQ(worker_.num_calls(), 2);
  EXPECT_EQ(Metric("thinkwire_router_waiting_requests"), 2);
  running[0]->Cancel();
  EXPECT_TRUE(first.Starts());
  EXPECT_EQ(PlaceOf(second), 0) << "its place has changed";
  running[1]->Cancel();
  EXPECT_TRUE(second.Starts());
  EXPECT_EQ(Metric("thinkwire_router_waiting_requests"), 0);
}

TEST_F(OverloadTest, EachOutputHasAPlaceThatIsFreeOnceItEnds) {
  Start(absl::StrCat("a ", kOfA));
  Call& both = Begin('a', {.n = 1 + static_cast<int>(LookAhead(1))});
  EXPECT_TRUE(both.Starts());
  Call& next = Begin('a');
  EXPECT_EQ(PlaceOf(next), 0);
  const auto events = SmallStream();  // of the first output
  for (std::size_t i = 2; i < events.size() - 1; ++i) worker_.Say(events[i]);
  EXPECT_TRUE(next.Starts());
}

TEST_F(OverloadTest, WhoAsksForItIsToldThatItStillWaits) {
  Start(absl::StrCat("a ", kOfA));
  const auto running = Fill();
  Call& silent = Begin('a');
  EXPECT_EQ(PlaceOf(silent), 0);
  Call& call = Begin('a', {.progress = true});
  EXPECT_EQ(PlaceOf(call), 1);
  for (int i = 0; i < 2; ++i) {
    const auto event = call.Next();
    ASSERT_TRUE(event && event->has_progress());
    EXPECT_EQ(event->progress().reason(), v1::SILENCE_REASON_WAITING);
  }
  running[0]->Cancel();
  EXPECT_TRUE(silent.Starts()) << "of which nothing else was said";
}

TEST_F(OverloadTest, WhoIsCancelledOrTooLateLeavesTheQueueAtOnce) {
  Start(absl::StrCat("a ", kOfA));
  const auto running = Fill();
  Call& cancelled = Begin('a');
  EXPECT_EQ(PlaceOf(cancelled), 0);
  cancelled.Cancel();
  ASSERT_TRUE(pool_.WaitUntil([&] { return Metric("thinkwire_router_waiting_requests") == 0; }));
  Call& late = Begin('a', {.deadline = std::chrono::milliseconds(300)});
  EXPECT_EQ(late.Status().code(), absl::StatusCode::kDeadlineExceeded);
  ASSERT_TRUE(pool_.WaitUntil([&] { return Metric("thinkwire_router_waiting_requests") == 0; }));
  running[0]->Cancel();
  EXPECT_TRUE(Begin('a').Starts());
  EXPECT_EQ(worker_.num_calls(), 3) << "neither went to a worker";
}

TEST_F(OverloadTest, ADrainSendsWhoWaitsElsewhereAndLetsTheOthersRun) {
  Start(absl::StrCat("a ", kOfA));
  const auto running = Fill();
  Call& waiting = Begin('a');
  EXPECT_EQ(PlaceOf(waiting), 0);
  service_->StartDraining();
  const absl::Status status = waiting.Status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(rpc::ErrorReason(status), "DRAINING");
  EXPECT_FALSE(service_->WaitUntilIdle(std::chrono::milliseconds(1)));
}

TEST_F(OverloadTest, PrioritiesOrderATenantsOwn) {
  Start(absl::StrCat("a ", kOfA));
  auto running = Fill();
  Call& low = Begin('a', {.priority = v1::PRIORITY_LOW});
  EXPECT_EQ(PlaceOf(low), 0);
  Call& normal = Begin('a');
  EXPECT_EQ(PlaceOf(normal), 0);
  Call& high = Begin('a', {.priority = v1::PRIORITY_HIGH, .progress = true});
  EXPECT_EQ(PlaceOf(high), 0);
  // The queue has looked since: whom it asked before that has found no place.
  const auto silence = high.Next();
  ASSERT_TRUE(silence && silence->has_progress());
  running[0]->Cancel();
  EXPECT_TRUE(high.Starts());
  running[1]->Cancel();
  EXPECT_TRUE(normal.Starts());
  high.Cancel();
  EXPECT_TRUE(low.Starts());
}

TEST_F(OverloadTest, ATenantWithNothingThereNeedNotWaitBehindOneThatFloods) {
  Start(absl::StrCat("a ", kOfA, "\nb ", kOfB));
  const auto running = Fill();
  for (int i = 0; i < 50; ++i) EXPECT_GE(PlaceOf(Begin('a')), 0);
  EXPECT_TRUE(Begin('b').Starts());
  EXPECT_EQ(worker_.last_call().request.attempt(), 1);
  // Its next one has an equal tenant's turn.
  EXPECT_LE(PlaceOf(Begin('b')), 51);
}

TEST_F(OverloadTest, ATenantHasItsConcurrencyAndIsToldWhenToComeAgain) {
  Start(absl::StrCat("a ", kOfA, " max_concurrency=3\nb ", kOfB));
  const auto running = Fill();
  Call& waiting = Begin('a');
  EXPECT_EQ(PlaceOf(waiting), 0);
  Call& refused = Begin('a');
  const absl::Status status = refused.Status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(rpc::ErrorReason(status), "TENANT_CONCURRENCY");
  const auto after = rpc::RetryAfter(status);
  ASSERT_TRUE(after);
  std::int64_t pushback_ms = 0;
  EXPECT_TRUE(absl::SimpleAtoi(refused.Trailer("grpc-retry-pushback-ms"), &pushback_ms));
  EXPECT_EQ(std::chrono::milliseconds(pushback_ms), *after);
  EXPECT_TRUE(Begin('b').Starts()) << "it has limits of its own";
  EXPECT_EQ(Metric("thinkwire_router_refusals_total"), 1);
  waiting.Cancel();
  ASSERT_TRUE(pool_.WaitUntil([&] { return PlaceOf(Begin('a')) == 0; }));
}

TEST_F(OverloadTest, ATenantHasItsTokensAMinute) {
  Start(absl::StrCat("a ", kOfA, " tokens_per_minute=600"));
  EXPECT_TRUE(Begin('a', {.max_tokens = 500}).Starts());
  const absl::Status status = Begin('a', {.max_tokens = 500}).Status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(rpc::ErrorReason(status), "TENANT_TOKENS");
  ASSERT_TRUE(rpc::RetryAfter(status));
  EXPECT_LE(*rpc::RetryAfter(status), std::chrono::minutes(1));
  // What was reserved and not drawn is given back.
  calls_.front()->Cancel();
  ASSERT_TRUE(pool_.WaitUntil([&] { return Begin('a', {.max_tokens = 500}).Starts(); }));
}

TEST_F(OverloadTest, TokensOfAllOutputsAreReserved) {
  Start(absl::StrCat("a ", kOfA, " tokens_per_minute=600"));
  EXPECT_TRUE(Begin('a', {.max_tokens = 100, .n = 5}).Starts());
  EXPECT_EQ(rpc::ErrorReason(Begin('a', {.max_tokens = 200}).Status()), "TENANT_TOKENS");
}

TEST_F(OverloadTest, TokensOfAllOutputsThatVoteAreReserved) {
  Start(absl::StrCat("a ", kOfA, " tokens_per_minute=600"));
  EXPECT_TRUE(Begin('a', {.max_tokens = 100, .samples = 5}).Starts());
  EXPECT_EQ(rpc::ErrorReason(Begin('a', {.max_tokens = 200}).Status()), "TENANT_TOKENS");
}

TEST_F(OverloadTest, ATenantMayNotAskForMoreThanItsPriority) {
  Start(absl::StrCat("a ", kOfA, " max_priority=normal"));
  const absl::Status status = Begin('a', {.priority = v1::PRIORITY_HIGH}).Status();
  EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(rpc::ErrorReason(status), "PRIORITY_NOT_ALLOWED");
  EXPECT_TRUE(Begin('a').Starts());
}

TEST_F(OverloadTest, WhoWouldWaitBeyondItsDeadlineIsRefusedAtOnce) {
  fake_clock_.Advance(Clock::Real().Now().time_since_epoch());  // workers' deadlines are real
  clock_ = &fake_clock_;
  Start(absl::StrCat("a ", kOfA));
  std::vector<Call*> calls = Fill();
  for (int i = 0; i < 8; ++i) {
    calls.push_back(&Begin('a'));
    EXPECT_EQ(PlaceOf(*calls.back()), i);
  }
  // A place gets free every hundred seconds, as the router sees.
  for (int i = 0; i < 6; ++i) {
    fake_clock_.Advance(std::chrono::seconds(100));
    calls[i]->Cancel();
    EXPECT_TRUE(calls[i + 2]->Starts());
  }
  Call& late = Begin('a', {.deadline = std::chrono::seconds(250)});
  const absl::Status status = late.Status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_EQ(rpc::ErrorReason(status), "DEADLINE_TOO_NEAR");
  ASSERT_TRUE(rpc::RetryAfter(status));
  EXPECT_GE(*rpc::RetryAfter(status), std::chrono::seconds(45));
  EXPECT_LE(*rpc::RetryAfter(status), std::chrono::minutes(1));
  EXPECT_FALSE(late.Trailer("grpc-retry-pushback-ms").empty());
  const auto queued = Begin('a').NextQueued();
  ASSERT_TRUE(queued) << "it has time";
  EXPECT_EQ(queued->position(), 2);
  EXPECT_EQ(rpc::ReadDuration(queued->estimated_wait()), std::chrono::seconds(300));
}

TEST_F(OverloadTest, WhoeverWaitsIsToldWhenTheWorkerIsGone) {
  Start(absl::StrCat("a ", kOfA));
  const auto running = Fill();
  Call& waiting = Begin('a');
  EXPECT_EQ(PlaceOf(waiting), 0);
  worker_.Kill();
  EXPECT_EQ(waiting.Status().code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace thinkwire::router
