#include "common/rpc/page_cache.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/fakes/fake_clock.h"

namespace thinkwire::rpc {
namespace {

using std::chrono::milliseconds;

class PageCacheTest : public testing::Test {
 protected:
  static constexpr milliseconds kRenderTime{20};

  FakeClock clock_;
  int rendered_ = 0;
  PageCache pages_{[this] {
                     clock_.Advance(kRenderTime);
                     return absl::StrCat(++rendered_);
                   },
                   clock_};
};

TEST_F(PageCacheTest, WhoAsksNowAndThenSeesThePageAsItIs) {
  for (int i = 1; i <= 100; ++i) {
    EXPECT_EQ(pages_.Get(), absl::StrCat(i));
    EXPECT_EQ(pages_.Get(), absl::StrCat(++i)) << "a second look at once";
    clock_.Advance(std::chrono::seconds(1));
  }
}

TEST_F(PageCacheTest, WhoAsksAllTheTimeTakesAShareOfIt) {
  constexpr int kBurst = kMetricsRenderBurst / kRenderTime;
  for (int i = 0; i < 100 * kBurst; ++i) pages_.Get();
  const int at_once = rendered_;
  EXPECT_GE(at_once, kBurst);
  EXPECT_LE(at_once, kBurst * 5 / 4);  // time passes with each
  constexpr int kSeconds = 60;
  for (int i = 0; i < kSeconds * 1000; ++i) {
    pages_.Get();
    clock_.Advance(milliseconds(1));
  }
  const double share = ToSeconds((rendered_ - at_once) * kRenderTime) / kSeconds;
  EXPECT_GT(share, 0.8 * kMetricsRenderShare);
  EXPECT_LT(share, 1.2 * kMetricsRenderShare);
}

TEST_F(PageCacheTest, APageIsShownAgainForTenTimesWhatItTakes) {
  for (int i = 0; i < 1000; ++i) pages_.Get();
  const std::string last = pages_.Get();
  clock_.Advance(10 * kRenderTime + milliseconds(1));
  EXPECT_NE(pages_.Get(), last);
}

}  // namespace
}  // namespace thinkwire::rpc
