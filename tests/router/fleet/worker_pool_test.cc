#include "router/fleet/worker_pool.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/mutex.h"
#include "common/peer_limits.h"
#include "common/rpc/status_details.h"
#include "router/decision/score_policy.h"
#include "router/fleet/worker_client.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_worker.h"
#include "tests/router/fleet/pool_fixture.h"

namespace thinkwire::router::fleet {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class WorkerPoolTest : public testing::Test {
 protected:
  std::vector<VariantConfig> Variants() {
    return {{.name = "qwen-7b", .workers = {a_.address(), b_.address()}},
            {.name = "qwen-32b", .workers = {c_.address()}}};
  }

  absl::StatusOr<WorkerLease> Pick(std::size_t variant) {
    return pool_->Lease(policy_, {.variant = Variants()[variant].name});
  }

  FakeClock clock_;
  FakeWorker a_{"qwen-7b"};
  FakeWorker b_{"deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"};
  FakeWorker c_{"qwen-32b"};
  const decision::ScorePolicy policy_{Variants()};
  PoolUnderTest pool_{Variants(), clock_};
};

TEST_F(WorkerPoolTest, NobodyIsLiveBeforeItSpeaks) {
  EXPECT_FALSE(pool_->AnyLive());
  const auto lease = Pick(0);
  EXPECT_EQ(lease.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(rpc::ErrorReason(lease.status()), "NO_LIVE_WORKER");
  EXPECT_TRUE(rpc::RetryAfter(lease.status()).has_value());
  EXPECT_EQ(pool_->Describe(0).configured, 2);
}

TEST_F(WorkerPoolTest, ErrorsOfThePolicySayToProgramsWhatIsWrong) {
  const auto unknown = pool_->Lease(policy_, {.variant = "qwen"});
  EXPECT_EQ(unknown.status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(rpc::ErrorReason(unknown.status()), "VARIANT_NOT_FOUND");
  const auto nobody = Pick(1);
  EXPECT_EQ(rpc::ErrorMetadata(nobody.status(), "variant"), "qwen-32b");
  EXPECT_NE(nobody.status().message().find(absl::StrCat(c_.address(), ": not connected yet")),
            absl::string_view::npos);
}

TEST_F(WorkerPoolTest, WorkersAreLiveOnceTheySpeak) {
  pool_->Tick();
  ASSERT_TRUE(pool_.WaitForLive(0, 2));
  ASSERT_TRUE(pool_.WaitForLive(1, 1));
  pool_->WaitForFirstContact(seconds(60));
  EXPECT_TRUE(pool_->AnyLive());
  const auto state = pool_->Describe(1);
  EXPECT_EQ(state.max_model_len, 4096);
  EXPECT_EQ(state.fingerprints, std::vector<std::string>{"fake"});
  EXPECT_EQ(Pick(1)->client().address(), c_.address());
}

TEST_F(WorkerPoolTest, PicksTheOneWithLeastToDo) {
  pool_->Tick();
  ASSERT_TRUE(pool_.WaitForLive(0, 2));
  a_.SetStatus([](auto& status) {
    status.set_running(3);
    status.set_queued(2);
  });
  ASSERT_TRUE(pool_.WaitUntil([&] { return pool_->Describe(0).queued == 2; }));
  for (int i = 0; i < 3; ++i) {
    const auto lease = Pick(0);
    ASSERT_TRUE(lease.ok());
    EXPECT_EQ(lease->client().address(), b_.address());
    EXPECT_EQ(lease->decision().worker_reason,
              "the one of 2 live ones that is through first: 0 queued, 0 running");
  }
  // A worker with many places is less loaded by more requests.
  a_.SetStatus([](auto& status) { status.set_max_num_seqs(1000); });
  b_.SetStatus([](auto& status) { status.set_running(1); });
  ASSERT_TRUE(pool_.WaitUntil([&] { return Pick(0)->client().address() == a_.address(); }));
}

TEST_F(WorkerPoolTest, EachOutputCountsBeforeTheWorkerSaysSoAndUntilItEnds) {
  pool_->Tick();
  ASSERT_TRUE(pool_.WaitForLive(0, 2));
  auto first = pool_->Lease(policy_, {.variant = "qwen-7b", .outputs = 3});
  std::vector<WorkerLease> others;
  for (int i = 0; i < 3; ++i) {
    others.push_back(*Pick(0));
    EXPECT_NE(others.back().client().address(), first->client().address()) << i;
  }
  for (int i = 0; i < 3; ++i) first->OutputEnded();  // the last one's place is its lease's
  EXPECT_EQ(Pick(0)->client().address(), first->client().address());
  for (int i = 0; i < 2; ++i) others.pop_back();
  const auto equal = Pick(0);
  const auto next = Pick(0);
  EXPECT_NE(equal->client().address(), next->client().address());
}

TEST_F(WorkerPoolTest, LeasesCountBeforeTheWorkerSaysSo) {
  pool_->Tick();
  ASSERT_TRUE(pool_.WaitForLive(0, 2));
  const auto first = Pick(0);
  const auto second = Pick(0);
  EXPECT_NE(first->client().address(), second->client().address());
  {
    const auto third = Pick(0);
    const auto fourth = Pick(0);
    EXPECT_NE(third->client().address(), fourth->client().address());
  }
  const auto fifth = Pick(0);
  const auto sixth = Pick(0);
  EXPECT_NE(fifth->client().address(), sixth->client().address());
}

TEST_F(WorkerPoolTest, ADrainingWorkerGetsNothingNew) {
  pool_->Tick();
  ASSERT_TRUE(pool_.WaitForLive(1, 1));
  c_.SetStatus([](auto& status) { status.set_draining(true); });
  ASSERT_TRUE(pool_.WaitForLive(1, 0));
  EXPECT_EQ(pool_->Describe(1).draining, 1);
  EXPECT_NE(Pick(1).status().message().find("it is draining"), absl::string_view::npos);
}

TEST_F(WorkerPoolTest, AWorkerOfAnotherModelIsNotLive) {
  pool_->Tick();
  ASSERT_TRUE(pool_.WaitForLive(1, 1));
  c_.SetStatus([](auto& status) { status.set_served_model_name("llama-8b"); });
  ASSERT_TRUE(pool_.WaitForLive(1, 0));
  EXPECT_NE(Pick(1).status().message().find("it serves \"llama-8b\""), absl::string_view::npos);
}

TEST_F(WorkerPoolTest, TellsOfDifferentFingerprintsUnderOneVariant) {
  PoolUnderTest pool(Variants(), clock_);
  pool->Tick();
  ASSERT_TRUE(pool.WaitForLive(0, 2));
  EXPECT_EQ(pool->Describe(0).fingerprints, std::vector<std::string>{"fake"});
  b_.SetStatus([](auto& status) { status.set_fingerprint("other"); });
  ASSERT_TRUE(pool.WaitUntil([&] { return pool->Describe(0).fingerprints.size() == 2; }));
  EXPECT_EQ(pool->Describe(0).live, 2);
  b_.SetStatus([](auto& status) { status.set_draining(true); });
  ASSERT_TRUE(pool.WaitUntil([&] { return pool->Describe(0).fingerprints.size() == 1; }));
}

TEST_F(WorkerPoolTest, AWorkerWithoutTheRequiredFingerprintIsNotLive) {
  std::vector<VariantConfig> variants = Variants();
  variants[1].require_fingerprint = "other";
  const decision::ScorePolicy policy(variants);
  PoolUnderTest pool(variants, clock_);
  pool->Tick();
  pool->WaitForFirstContact(seconds(60));
  EXPECT_EQ(pool->Describe(1).live, 0);
  const absl::Status status = pool->Lease(policy, {.variant = "qwen-32b"}).status();
  EXPECT_NE(status.message().find("its fingerprint is fake, the required one other"),
            absl::string_view::npos)
      << status;
  c_.SetStatus([](auto& status) { status.set_fingerprint("other"); });
  ASSERT_TRUE(pool.WaitForLive(1, 1));
}

TEST_F(WorkerPoolTest, AWorkersOwnWordsAreNoReasonForClients) {
  pool_->Tick();
  ASSERT_TRUE(pool_.WaitForLive(1, 1));
  c_.EndWatches();
  ASSERT_TRUE(pool_.WaitForLive(1, 0));
  const absl::Status status = Pick(1).status();
  EXPECT_NE(status.message().find("it cannot be reached"), absl::string_view::npos) << status;
  EXPECT_EQ(status.message().find("restarting"), absl::string_view::npos);
}

TEST_F(WorkerPoolTest, AnEndedWatchIsBegunAgainLaterEachTime) {
  pool_->Tick();
  ASSERT_TRUE(pool_.WaitForLive(1, 1));
  c_.EndWatches();
  ASSERT_TRUE(pool_.WaitForLive(1, 0));
  // The end is known before the next watch may begin, so keep asking at the same instant.
  pool_->Tick();
  EXPECT_EQ(pool_->Describe(1).live, 0);
  clock_.Advance(WorkerPool::kFirstRetry);
  ASSERT_TRUE(pool_.WaitUntil([&] {
    pool_->Tick();
    return pool_->Describe(1).live == 1;
  }));
  EXPECT_TRUE(c_.WaitForWatches(2));
}

TEST_F(WorkerPoolTest, ASilentWorkerIsNotLiveUntilItSpeaksAgain) {
  pool_->Tick();
  ASSERT_TRUE(pool_.WaitForLive(0, 2));
  ASSERT_TRUE(pool_.WaitForLive(1, 1));
  clock_.Advance(WorkerPool::kSilence - milliseconds(1));
  pool_->Tick();
  EXPECT_EQ(pool_->Describe(1).live, 1);
  clock_.Advance(milliseconds(2));
  pool_->Tick();
  EXPECT_EQ(pool_->Describe(1).live, 0);
  EXPECT_NE(Pick(1).status().message().find("it is silent"), absl::string_view::npos);
  ASSERT_TRUE(pool_.WaitUntil([&] {
    clock_.Advance(WorkerPool::kFirstRetry);
    pool_->Tick();
    return pool_->Describe(1).live == 1;
  }));
}

TEST_F(WorkerPoolTest, ADeadWorkerIsNoticedWithoutTheClock) {
  pool_->Tick();
  ASSERT_TRUE(pool_.WaitForLive(0, 2));
  a_.Kill();
  ASSERT_TRUE(pool_.WaitForLive(0, 1));
  EXPECT_EQ(Pick(0)->client().address(), b_.address());
  EXPECT_NE(Pick(0)->decision().worker_reason.find("the only live one"), std::string::npos);
}

TEST_F(WorkerPoolTest, TheThreadTicksByItself) {
  pool_->Start();
  ASSERT_TRUE(pool_.WaitForLive(0, 2));
  pool_->Stop();
  pool_->Stop();
}

TEST_F(WorkerPoolTest, AWorkerThatCanHaveNoMoreIsPassedOver) {
  pool_->Tick();
  ASSERT_TRUE(pool_.WaitForLive(0, 2));
  a_.SetStatus([](auto& status) {
    status.set_max_num_seqs(1);
    status.set_max_queue(1);
    status.set_running(1);
  });
  ASSERT_TRUE(pool_.WaitUntil([&] { return pool_->Describe(0).running == 1; }));
  b_.Kill();
  ASSERT_TRUE(pool_.WaitForLive(0, 1));
  std::vector<WorkerLease> leases;
  for (std::int64_t i = 0; i < MaxRequestsOfWorker(1, 1); ++i) {
    auto lease = Pick(0);
    ASSERT_TRUE(lease.ok()) << lease.status();
    leases.push_back(*std::move(lease));
  }
  const auto refused = Pick(0);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(rpc::ErrorReason(refused.status()), "QUEUE_FULL");
  EXPECT_EQ(rpc::ErrorMetadata(refused.status(), "variant"), "qwen-7b");
  EXPECT_TRUE(rpc::RetryAfter(refused.status()));
  leases.pop_back();
  EXPECT_TRUE(Pick(0).ok());
}

// Counts how often it is asked.
class CountingPolicy final : public decision::Policy {
 public:
  explicit CountingPolicy(const decision::Policy& policy) : policy_(policy) {}
  absl::StatusOr<decision::Decision> Decide(const decision::Query& query,
                                            const decision::View& view) const override {
    ++asked;
    return policy_.Decide(query, view);
  }
  mutable int asked = 0;

 private:
  const decision::Policy& policy_;
};

TEST_F(WorkerPoolTest, HoweverManyAreFullTwoDecisionsAreEnough) {
  const auto all_full = [](auto& status) {
    status.set_max_num_seqs(1);
    status.set_max_queue(1);
    status.set_running(1);
  };
  a_.SetStatus(all_full);
  b_.SetStatus(all_full);
  pool_->Tick();
  ASSERT_TRUE(pool_.WaitUntil([&] { return pool_->Describe(0).running == 2; }));
  std::vector<WorkerLease> leases;
  for (std::int64_t i = 0; i < 2 * MaxRequestsOfWorker(1, 1); ++i) {
    auto lease = Pick(0);
    ASSERT_TRUE(lease.ok()) << lease.status();
    leases.push_back(*std::move(lease));
  }
  const CountingPolicy policy(policy_);
  EXPECT_EQ(rpc::ErrorReason(pool_->Lease(policy, {.variant = "qwen-7b"}).status()), "QUEUE_FULL");
  EXPECT_EQ(policy.asked, 2);
  leases.pop_back();
  EXPECT_TRUE(pool_->Lease(policy, {.variant = "qwen-7b"}).ok());
  EXPECT_EQ(policy.asked, 3);
}

TEST_F(WorkerPoolTest, WhoStandsStillIsOutUntilItHasAnsweredAProbe) {
  ASSERT_TRUE(pool_.TickUntilLive(2));
  const auto stand_still = [&](int s) {
    a_.SetStatus([&](auto& status) {
      status.clear_ranks();
      status.add_ranks()->mutable_since_progress()->set_seconds(s);
    });
  };
  stand_still(5);
  ASSERT_TRUE(pool_.WaitForLive(0, 1));
  EXPECT_EQ(pool_->Describe(0).out, 1);
  pool_->Tick();
  EXPECT_EQ(a_.num_probes(), 0);
  EXPECT_EQ(Pick(0)->client().address(), b_.address());
  stand_still(0);
  ASSERT_TRUE(pool_.WaitUntil([&] {
    pool_->Tick();
    return pool_->Describe(0).live == 2;
  }));
  EXPECT_EQ(a_.num_probes(), 1);
  EXPECT_EQ(a_.num_calls(), 0);
}

// Keeps how an attempt ended.
class EndReader final : public WorkerAttempt::Reader {
 public:
  bool OnMessage(v1::WorkerGenerateResponse&& /*message*/) override { return true; }
  void OnEnd(const absl::Status& status) override {
    MutexLock lock(mu_);
    end_ = status;
  }
  bool ended() {
    MutexLock lock(mu_);
    return end_.has_value();
  }
  std::string reason() {
    MutexLock lock(mu_);
    return rpc::ErrorReason(end_.value());
  }

 private:
  Mutex mu_;
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mu_);
};

TEST_F(WorkerPoolTest, StreamsOfWhoStandsStillAreGivenUpWhereAnotherCanGoOn) {
  ASSERT_TRUE(pool_.TickUntilLive(2));
  for (const bool another : {false, true}) {
    FakeWorker& worker = another ? a_ : c_;
    worker.SetScript({.stays_open = true});
    if (another) {
      b_.SetStatus([](auto& status) { status.set_running(10); });
      ASSERT_TRUE(pool_.WaitUntil([&] { return pool_->Describe(0).running == 10; }));
    }
    const auto lease = Pick(another ? 0 : 1);
    ASSERT_TRUE(lease.ok());
    ASSERT_EQ(lease->client().address(), worker.address());
    const auto reader = std::make_shared<EndReader>();
    const auto attempt = lease->client().Generate({}, reader);
    v1::WorkerGenerateRequest request;
    request.set_attempt(1);
    attempt->Start(request);
    ASSERT_TRUE(worker.WaitForCalls(1));
    worker.SetStatus(
        [](auto& status) { status.add_ranks()->mutable_since_progress()->set_seconds(5); });
    ASSERT_TRUE(pool_.WaitForLive(another ? 0 : 1, another ? 1 : 0));
    pool_->Tick();
    if (!another) {
      EXPECT_FALSE(reader->ended());
      attempt->Cancel();
    }
    ASSERT_TRUE(pool_.WaitUntil([&] { return reader->ended(); }));
    EXPECT_EQ(reader->reason(), another ? "WORKER_SILENT" : "CANCELLED");
  }
}

TEST_F(WorkerPoolTest, FailuresOfRequestsEjectAndAProbeInVainDoesNotReadmit) {
  ASSERT_TRUE(pool_.TickUntilLive(2));
  a_.SetScript({.probe_end = absl::InternalError("not yet")});
  for (int i = 0; i < kFailuresToEject; ++i) {
    clock_.Advance(kLastDistrust);  // so that it is asked again
    a_.SetStatus([&](auto& status) { status.set_free_kv_blocks(90 - i); });
    b_.SetStatus([&](auto& status) { status.set_running(10 + i); });
    ASSERT_TRUE(pool_.WaitUntil([&] { return pool_->Describe(0).running == 10 + i; }));
    auto lease = Pick(0);
    ASSERT_EQ(lease->client().address(), a_.address()) << i;
    lease->Ended(rpc::Error(absl::StatusCode::kInternal, "NOT_FINITE", "not a number"));
  }
  EXPECT_EQ(pool_->Describe(0).out, 1);
  const auto pass = [&](Clock::Duration time) {
    clock_.Advance(time);
    for (FakeWorker* const worker : {&a_, &b_, &c_}) worker->SetStatus([](auto&) {});
    pool_->Tick();
  };
  // In steps, so that no status is too old.
  int probes = 0;
  for (const bool answers : {false, true}) {
    if (answers) a_.SetScript({});
    ++probes;
    ASSERT_TRUE(pool_.WaitUntil([&] {
      if (a_.num_probes() < probes) pass(seconds(1));
      return a_.num_probes() >= probes && (pool_->Describe(0).live == 2) == answers;
    }));
  }
  EXPECT_EQ(b_.num_probes(), 0);
}

}  // namespace
}  // namespace thinkwire::router::fleet
