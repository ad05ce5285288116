#include "common/metrics.h"

#include <gtest/gtest.h>
#include <prometheus/counter.h>
#include <prometheus/registry.h>

namespace thinkwire {
namespace {

TEST(Metrics, TakesAFreePortAndRefusesATakenOne) {
  Metrics first("thinkwire_test");
  ASSERT_TRUE(first.Expose("127.0.0.1:0").ok());
  EXPECT_GT(first.port(), 0);

  Metrics second("thinkwire_test");
  const std::string taken = "127.0.0.1:" + std::to_string(first.port());
  const absl::Status status = second.Expose(taken);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(status.message().find(taken), absl::string_view::npos);
}

TEST(Metrics, CountersLiveInTheRegistry) {
  Metrics metrics("thinkwire_test");
  auto& family =
      prometheus::BuildCounter().Name("thinkwire_test_total").Register(metrics.registry());
  family.Add({{"outcome", "ok"}}).Increment(3);
  const auto collected = metrics.registry().Collect();
  ASSERT_EQ(collected.size(), 1u);
  EXPECT_EQ(collected[0].name, "thinkwire_test_total");
  EXPECT_EQ(collected[0].metric[0].counter.value, 3);
}

}  // namespace
}  // namespace thinkwire
