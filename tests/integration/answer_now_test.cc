// AnswerNow over real processes: at the request's own router and at another one.
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "common/rpc/status_details.h"
#include "tests/integration/router_process.h"
#include "tests/integration/worker_process.h"

namespace thinkwire::integration {
namespace {

// Thinks as long as there is room, if nobody has it answer.
v1::GenerateRequest LongThought(std::uint64_t seed) {
  v1::GenerateRequest request = Ask("What is 27+48?", seed);
  request.mutable_thinking()->set_min_tokens(3'500);
  request.set_min_answer_tokens(16);
  return request;
}

absl::StatusOr<std::int32_t> AnswerNow(RouterProcess& router, const std::string& request_id) {
  grpc::ClientContext context;
  v1::AnswerNowRequest request;
  request.set_request_id(request_id);
  v1::AnswerNowResponse response;
  const grpc::Status status = router.stub().AnswerNow(&context, request, &response);
  if (!status.ok()) return rpc::FromGrpc(status);
  return response.outputs();
}

// What one stream of `own` has told of its reasoning's end, where `asked` is asked for the answer
// once there is some thought.
v1::ReasoningFinished Think(RouterProcess& own, RouterProcess& asked, std::uint64_t seed) {
  grpc::ClientContext context;
  const auto stream = own.stub().Generate(&context, LongThought(seed));
  std::string request_id;
  v1::ReasoningFinished finished;
  bool told = false;
  for (v1::GenerateResponse event; stream->Read(&event);) {
    if (event.has_started()) request_id = event.started().request_id();
    if (event.has_reasoning_finished()) finished = event.reasoning_finished();
    if (!event.has_reasoning_delta() || told) continue;
    told = true;
    (void)AnswerNow(asked, request_id);  // it may have ended meanwhile
  }
  EXPECT_TRUE(stream->Finish().ok());
  return finished;
}

// The thought is as long as the context allows, and may still be over first on a busy machine.
bool EndsByAnswerNow(RouterProcess& own, RouterProcess& asked) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    const v1::ReasoningFinished finished = Think(own, asked, seed);
    if (finished.cause() == v1::REASONING_FINISH_CAUSE_ANSWER_NOW) return finished.forced();
  }
  return false;
}

TEST(AnswerNowTest, EndsTheReasoningAtItsOwnRouterAndAtAnother) {
  WorkerProcess worker({absl::StrCat("--model=", kTinyModel)});
  ASSERT_TRUE(worker.listening());
  const std::string address = absl::StrCat("127.0.0.1:", worker.port());
  RouterProcess one("tiny-r1", address);
  RouterProcess other("tiny-r1", address);
  EXPECT_TRUE(EndsByAnswerNow(one, one));
  EXPECT_TRUE(EndsByAnswerNow(one, other));
  EXPECT_EQ(rpc::ErrorReason(AnswerNow(other, "unknown").status()), "REQUEST_NOT_FOUND");
  EXPECT_TRUE(one.WaitUntilIdle());
  EXPECT_TRUE(other.WaitUntilIdle());
}

}  // namespace
}  // namespace thinkwire::integration
