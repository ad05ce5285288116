#include "worker/list_command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

namespace thinkwire::worker {
namespace {

std::vector<model::MemoryPlace> Places() {
  return {{.device = {.name = "cuda-sm90 Fake",
                      .kind = kernels::DeviceKind::kCuda,
                      .activation = kernels::DType::kBf16},
           .free_bytes = 80'000'000'000,
           .devices = 2},
          {.device = {.name = "cpu"}, .free_bytes = 1'000, .devices = 1}};
}

TEST(PlaceLinesTest, SayWhatIsFreeOnGpusAndMachine) {
  EXPECT_EQ(PlaceLines(Places()),
            "cuda: 80.0 GB are free on each of 2 cuda-sm90 Fake\ncpu: 0.0 GB are free\n");
}

TEST(ListLinesTest, SayWhatAModelTakesInEachPlace) {
  hub::CachedModel cached;
  cached.repo = "org/model";
  cached.commit = "1234567890abcdef1234567890abcdef12345678";
  cached.revisions = {"main", "v1"};
  cached.bytes = 15'200'000'000;
  cached.folder = "deploy/models/tiny-r1";
  EXPECT_THAT(ListLines(cached, Places(), "auto"),
              testing::MatchesRegex(
                  "org/model  main,v1  1234567890ab  15\\.2 GB\n"
                  "  cuda: weights .* GB, KV .* MB a thousand tokens: fits, .* of context\n"
                  "  cpu: weights .* GB, KV .* MB a thousand tokens: does not fit\n"));
}

TEST(ListLinesTest, GoByTheDtypeOfKeysAndValuesThatIsAskedFor) {
  hub::CachedModel cached;
  cached.folder = "deploy/models/tiny-r1";
  const std::string whole = ListLines(cached, Places(), "bfloat16");
  EXPECT_EQ(ListLines(cached, Places(), "auto"), whole);
  EXPECT_NE(ListLines(cached, Places(), "fp8_e4m3"), whole);
}

TEST(ListLinesTest, SayWhatIsMissing) {
  hub::CachedModel cached;
  cached.repo = "org/part";
  cached.commit = "f";
  cached.missing = {"config.json", "tokenizer.json"};
  EXPECT_EQ(ListLines(cached, Places(), "auto"),
            "org/part  -  f  0.0 GB\n  not whole: lacks config.json, tokenizer.json\n");
}

TEST(ListLinesTest, SayWhyAModelCannotBeServed) {
  hub::CachedModel cached;
  cached.repo = "org/other";
  cached.commit = "f";
  cached.folder = "/not/there";
  EXPECT_THAT(ListLines(cached, Places(), "auto"),
              testing::HasSubstr("  cuda: cannot be served: "));
}

}  // namespace
}  // namespace thinkwire::worker
