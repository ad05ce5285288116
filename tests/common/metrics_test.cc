#include "common/metrics.h"

#include <gtest/gtest.h>
#include <prometheus/counter.h>
#include <prometheus/registry.h>

namespace thinkwire {
namespace {

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

TEST(Metrics, ThePageShowsThemBesideTheProcess) {
  Metrics metrics("thinkwire_test");
  metrics.AddBuildInfo({{"model", "tiny"}});
  const std::string page = metrics.Page();
  EXPECT_NE(page.find("# TYPE thinkwire_test_build_info gauge\n"
                      "thinkwire_test_build_info{model=\"tiny\",version=\""),
            std::string::npos)
      << page;
  EXPECT_NE(page.find("\nprocess_open_fds "), std::string::npos) << page;
}

}  // namespace
}  // namespace thinkwire
