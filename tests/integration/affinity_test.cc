// Conversations of several turns over several workers, with others in between.

#include <grpcpp/client_context.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/integration/router_process.h"
#include "tests/integration/worker_process.h"
#include "thinkwire/v1/reasoning.grpc.pb.h"

namespace thinkwire::integration {
namespace {

constexpr int kWorkers = 3;

class AffinityTest : public testing::Test {
 protected:
  AffinityTest() {
    std::vector<std::string> addresses;
    for (WorkerProcess& worker : workers_) {
      addresses.push_back(absl::StrCat("127.0.0.1:", worker.port()));
      by_address_[addresses.back()] = &worker;
    }
    router_.emplace("tiny-r1", addresses);
  }

  // What workers said of requests that have ended is no load any more.
  void WaitUntilIdle() {
    const auto give_up = std::chrono::steady_clock::now() + kPatience;
    while (std::chrono::steady_clock::now() < give_up) {
      grpc::ClientContext context;
      v1::ListVariantsResponse page;
      EXPECT_TRUE(router_->stub().ListVariants(&context, {}, &page).ok());
      if (page.variants(0).running() + page.variants(0).queued() == 0) return;
      std::this_thread::yield();
    }
    ADD_FAILURE() << "workers are never idle";
  }

  v1::Started Start(const v1::GenerateRequest& request) {
    WaitUntilIdle();
    grpc::ClientContext context;
    const auto reader = router_->stub().Generate(&context, request);
    v1::Started started;
    v1::GenerateResponse event;
    while (reader->Read(&event)) {
      if (event.has_started()) started = event.started();
    }
    const grpc::Status status = reader->Finish();
    EXPECT_TRUE(status.ok()) << status.error_message();
    return started;
  }

  // The next turn of a conversation, some 100 tokens longer each time.
  v1::Started Go(v1::GenerateRequest& conversation) {
    auto& messages = *conversation.mutable_prompt()->mutable_chat()->mutable_messages();
    const int turn = messages.size();
    std::string question = absl::StrCat("What is ", turn);
    for (int i = 0; i < 40; ++i) absl::StrAppend(&question, "+", turn + i);
    if (turn > 1) {
      messages.Add()->set_role(v1::ROLE_ASSISTANT);
      messages.rbegin()->set_content("I do not know.");
    }
    messages.Add()->set_role(v1::ROLE_USER);
    messages.rbegin()->set_content(question);
    conversation.set_max_tokens(1);  // so that no worker seems faster than another
    return Start(conversation);
  }

  // One that has nothing in common with any other.
  v1::GenerateRequest NewConversation() {
    v1::GenerateRequest conversation;
    auto& first = *conversation.mutable_prompt()->mutable_chat()->add_messages();
    first.set_role(v1::ROLE_SYSTEM);
    first.set_content(absl::StrCat(++conversations_, " is the number of this conversation, which ",
                                   "no other has. Whoever asks is polite and patient."));
    return conversation;
  }

  double Prefixes(const std::string& use) {
    return router_
        ->Metric("thinkwire_router_prefixes_total",
                 absl::StrCat("{use=\"", use, "\",variant=\"tiny-r1\"}"))
        .value_or(0);
  }

  static WorkerProcess TinyWorker() {
    return WorkerProcess({absl::StrCat("--model=", kTinyModel)});
  }

  WorkerProcess workers_[kWorkers] = {TinyWorker(), TinyWorker(), TinyWorker()};
  std::map<std::string, WorkerProcess*> by_address_;
  std::optional<RouterProcess> router_;
  int conversations_ = 0;
};

TEST_F(AffinityTest, EachConversationGoesBackToTheWorkerThatHasItsBlocks) {
  std::deque<v1::GenerateRequest> conversations;
  std::vector<std::string> workers;
  for (int i = 0; i < 2 * kWorkers; ++i) {
    conversations.push_back(NewConversation());
    workers.push_back(Go(conversations.back()).worker());
  }
  for (const auto& [address, worker] : by_address_) {
    EXPECT_EQ(std::ranges::count(workers, address), 2) << "new ones spread";
  }
  std::vector<std::int32_t> before(conversations.size());
  for (int turn = 2; turn <= 4; ++turn) {
    for (std::size_t i = conversations.size(); i-- > 0;) {
      const v1::Started started = Go(conversations[i]);
      EXPECT_EQ(started.worker(), workers[i]);
      EXPECT_TRUE(absl::StartsWith(started.worker_reason(), "has ")) << started.worker_reason();
      EXPECT_GT(started.cached_prompt_tokens(), before[i]);
      before[i] = started.prompt_tokens() - 150;  // all but the newest messages
    }
  }
  EXPECT_EQ(Prefixes("unknown"), conversations.size());
  EXPECT_EQ(Prefixes("hit"), 3.0 * static_cast<double>(conversations.size()));
}

TEST_F(AffinityTest, AConversationWhoseWorkerHasDiedHasAnotherFromThenOn) {
  v1::GenerateRequest conversation = NewConversation();
  const std::string first = Go(conversation).worker();
  by_address_.at(first)->process().Signal(SIGKILL);
  by_address_.at(first)->process().Wait();
  const v1::Started moved = Go(conversation);
  EXPECT_NE(moved.worker(), first);
  EXPECT_EQ(moved.cached_prompt_tokens(), 0);
  for (int turn = 0; turn < 3; ++turn) {
    const v1::Started started = Go(conversation);
    EXPECT_EQ(started.worker(), moved.worker());
    EXPECT_GT(started.cached_prompt_tokens(), 0);
  }
}

}  // namespace
}  // namespace thinkwire::integration
