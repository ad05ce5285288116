#include "common/rpc/request_revision.h"

#include <google/protobuf/text_format.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <string>

namespace thinkwire::rpc {
namespace {

using google::protobuf::util::MessageDifferencer;

v1::WorkerGenerateRequest Request(const std::string& text) {
  v1::WorkerGenerateRequest request;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &request)) << text;
  return request;
}

TEST(ForRevisionTest, LeavesOutWhatAnOlderWorkerWouldRefuse) {
  const auto older = ForRevision(
      Request("attempt: 2 request { sampling { logprobs: true top_logprobs: 2 token_bytes: true } "
              "answer_sampling { logprobs: true token_bytes: false } }"),
      0);
  ASSERT_TRUE(older.has_value());
  EXPECT_TRUE(MessageDifferencer::Equals(
      *older, Request("attempt: 2 request { sampling { logprobs: true top_logprobs: 2 } "
                      "answer_sampling { logprobs: true } }")))
      << older->DebugString();
}

TEST(ForRevisionTest, OfOnePhaseAlone) {
  const auto older =
      ForRevision(Request("request { answer_sampling { logprobs: true token_bytes: true } }"), 0);
  ASSERT_TRUE(older.has_value());
  EXPECT_TRUE(
      MessageDifferencer::Equals(*older, Request("request { answer_sampling { logprobs: true } }")))
      << older->DebugString();
}

TEST(ForRevisionTest, ChangesNothingOfWhatIsKnown) {
  const auto asks = Request("request { sampling { logprobs: true token_bytes: true } }");
  EXPECT_FALSE(ForRevision(asks, kTokenBytesRevision).has_value());
  EXPECT_FALSE(ForRevision(asks, kRequestRevision + 7).has_value());
  EXPECT_FALSE(ForRevision(Request("request { sampling { logprobs: true } }"), 0).has_value());
}

}  // namespace
}  // namespace thinkwire::rpc
