// Outputs that vote, over real processes: the winner is a matter of the seed, whoever is fast and
// whichever worker dies.

#include <grpcpp/client_context.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/rpc/stream_contract.h"
#include "tests/integration/router_process.h"
#include "tests/integration/worker_process.h"

namespace thinkwire::integration {
namespace {

constexpr int kOutputs = 6;

// Drawn wildly enough for outputs that differ.
v1::GenerateRequest Election(std::uint64_t seed) {
  v1::GenerateRequest request = Ask("What is 27+48?", seed);
  request.mutable_sampling()->set_temperature(1.3F);
  request.mutable_thinking()->set_min_tokens(150);
  request.set_max_tokens(400);
  request.mutable_consensus()->set_max_samples(kOutputs);
  request.set_progress(true);
  return request;
}

struct Elected {
  std::string text;    // reasoning and answer of the winner
  std::string answer;  // as it was voted for
  std::int32_t winner = -1;
  int moves = 0;
};

Elected Elect(RouterProcess& router, const v1::GenerateRequest& request,
              const std::function<void(const v1::GenerateResponse&)>& see = nullptr) {
  grpc::ClientContext context;
  const auto stream = router.stub().Generate(&context, request);
  rpc::StreamContract contract(request);
  Elected elected;
  for (v1::GenerateResponse event; stream->Read(&event);) {
    const absl::Status status = contract.Add(event);
    EXPECT_TRUE(status.ok()) << status << event.ShortDebugString();
    if (see) see(event);
    elected.text += event.reasoning_delta().text() + event.answer_delta().text();
    elected.moves += event.has_moved() ? 1 : 0;
    if (!event.has_completed() || event.completed().votes().empty()) continue;
    elected.answer = event.completed().votes(0).answer();
    elected.winner = event.completed().votes(0).output_indexes(0);
  }
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_TRUE(contract.End().ok()) << contract.End();
  return elected;
}

TEST(ConsensusTest, TheSeedSaysWhoWinsWhateverTheWorkersDo) {
  const std::vector<std::string> slow = {"--model", kTinyModel,       "--served_model_name",
                                         "tiny",    "--max_num_seqs", "2"};
  WorkerProcess one({"--model", kTinyModel, "--served_model_name", "tiny"});
  WorkerProcess two(slow);
  ASSERT_TRUE(one.listening() && two.listening());
  const std::string first = absl::StrCat("127.0.0.1:", one.port());
  const std::string second = absl::StrCat("127.0.0.1:", two.port());
  RouterProcess alone("tiny", first);
  RouterProcess other("tiny", second);
  RouterProcess both("tiny", std::vector<std::string>{first, second});
  std::vector<Elected> undisturbed;
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    undisturbed.push_back(Elect(alone, Election(seed)));
    EXPECT_FALSE(undisturbed.back().answer.empty());
    const Elected again = Elect(other, Election(seed));
    EXPECT_EQ(again.text, undisturbed.back().text) << "two at a time end in another order";
    EXPECT_EQ(again.answer, undisturbed.back().answer);
    EXPECT_EQ(again.winner, undisturbed.back().winner);
  }
  bool killed = false;
  std::string worker;
  const Elected moved = Elect(both, Election(1), [&](const v1::GenerateResponse& event) {
    if (event.has_started()) worker = event.started().worker();
    if (killed || event.progress().reason() != v1::SILENCE_REASON_VOTING) return;
    killed = true;
    (worker == first ? one : two).process().Signal(SIGKILL);
  });
  EXPECT_TRUE(killed);
  EXPECT_EQ(moved.moves, 1);
  EXPECT_EQ(moved.text, undisturbed[0].text);
  EXPECT_EQ(moved.winner, undisturbed[0].winner);
}

}  // namespace
}  // namespace thinkwire::integration
