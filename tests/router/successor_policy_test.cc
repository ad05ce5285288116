#include "router/successor_policy.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "tests/router/in_order_policy.h"

namespace thinkwire::router {
namespace {

decision::WorkerView Worker(const std::string& fingerprint, std::size_t variant = 1,
                            std::int32_t context = 100) {
  return {.variant = variant,
          .status = decision::WorkerStatus{.fingerprint = fingerprint, .max_model_len = context}};
}

// Which worker goes on with a stream of variant 1, under "f", that needs 100 tokens; -1: none.
int Choose(const std::vector<decision::WorkerView>& workers,
           const std::vector<std::size_t>& tried = {}, std::optional<std::size_t> worker = {}) {
  const InOrderPolicy in_order;
  const SuccessorPolicy policy(
      in_order, {.variant = 1, .fingerprint = "f", .context_tokens = 100, .worker = worker});
  const auto decision = policy.Decide({.tried = tried}, {.workers = workers, .variants = {}});
  return decision.ok() ? static_cast<int>(decision->worker) : -1;
}

TEST(SuccessorPolicyTest, AnEqualFingerprintComesFirst) {
  EXPECT_EQ(Choose({Worker("g"), Worker("f")}), 1);
  EXPECT_EQ(Choose({Worker("g"), Worker("h")}), 0);
  EXPECT_EQ(Choose({Worker("g"), Worker("f")}, {1}), 0);
}

TEST(SuccessorPolicyTest, ThePreferredWorkerComesBeforeAll) {
  EXPECT_EQ(Choose({Worker("f"), Worker("g"), Worker("f")}, {}, 1), 1);
  EXPECT_EQ(Choose({Worker("g"), Worker("f"), Worker("f", 0)}, {}, 2), 1);
  EXPECT_EQ(Choose({Worker("g"), Worker("f"), Worker("f")}, {2}, 2), 1);
  EXPECT_EQ(Choose({Worker("g"), Worker("f")}, {}, 7), 1) << "there is no such";
}

TEST(SuccessorPolicyTest, AnotherVariantOrATooSmallContextDoesNot) {
  EXPECT_EQ(Choose({Worker("f", 0), Worker("f", 1, 99), Worker("g")}), 2);
  EXPECT_EQ(Choose({Worker("f", 0), Worker("f", 1, 99)}), -1);
}

TEST(SuccessorPolicyTest, WhoDrainsOrWasTriedDoesNot) {
  decision::WorkerView draining = Worker("f");
  draining.status->draining = true;
  EXPECT_EQ(Choose({draining, Worker("g"), Worker("h")}), 1);
  EXPECT_EQ(Choose({draining, Worker("g")}, {1}), -1);
  EXPECT_EQ(Choose({}), -1);
}

}  // namespace
}  // namespace thinkwire::router
