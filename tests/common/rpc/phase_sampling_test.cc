#include "common/rpc/phase_sampling.h"

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <string>

namespace thinkwire::rpc {
namespace {

v1::PhaseSampling Sampling(const std::string& text) {
  v1::PhaseSampling sampling;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &sampling)) << text;
  return sampling;
}

void ExpectInForce(const std::string& both, const std::string& own, const std::string& expected) {
  EXPECT_EQ(InForce(Sampling(both), Sampling(own)).DebugString(), Sampling(expected).DebugString())
      << both << " + " << own;
}

TEST(InForce, NumbersAreReplacedOneByOne) {
  ExpectInForce("temperature: 0 top_p: 0.5", "", "temperature: 0 top_p: 0.5");
  ExpectInForce("", "temperature: 0", "temperature: 0");
  ExpectInForce("temperature: 1 top_p: 0.5", "temperature: 0", "temperature: 0 top_p: 0.5");
}

TEST(InForce, ListsAndMapsAreReplacedAsAWhole) {
  const std::string both =
      "stop_strings: ['a', 'b'] stop_token_ids: [1, 2] logit_bias { key: 1 value: 2 } "
      "logit_bias { key: 3 value: 4 }";
  ExpectInForce(both, "temperature: 0", both + "temperature: 0");
  ExpectInForce(both, "stop_strings: 'c' stop_token_ids: 3 logit_bias { key: 1 value: 5 }",
                "stop_strings: 'c' stop_token_ids: 3 logit_bias { key: 1 value: 5 }");
}

TEST(InForce, LogprobsAreTakenBackWithTheirAlternatives) {
  const std::string both = "logprobs: true top_logprobs: 3";
  ExpectInForce(both, "logprobs: false", "logprobs: false");
  ExpectInForce(both + " token_bytes: true", "logprobs: false", "logprobs: false");
  ExpectInForce(both, "top_logprobs: 1", "logprobs: true top_logprobs: 1");
  ExpectInForce(both, "logprobs: true", both);
}

}  // namespace
}  // namespace thinkwire::rpc
