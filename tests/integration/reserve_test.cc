// Requests drawn at random, all of which keep room for the answer: each answers.
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/integration/worker_process.h"
#include "tests/sanitized.h"

namespace thinkwire::integration {
namespace {

constexpr int kRequests = kSanitized ? 100 : 2000;
constexpr int kAtOnce = 16;

// What decides how a request's thinking ends, drawn from `seed`.
class RandomRequest {
 public:
  explicit RandomRequest(int seed) : seed_(seed), random_(seed) {}

  v1::GenerateRequest Drawn() {
    auto request = Ask(Question(), seed_);
    DrawLengths(request);
    DrawThinking(*request.mutable_thinking(), request.max_tokens());
    auto& sampling = *request.mutable_sampling();
    sampling.set_temperature(static_cast<float>(Int(0, 15)) / 10);
    sampling.set_top_p(Chance(2) ? 1.0F : 0.9F);
    if (Chance(3)) request.mutable_loop_limits()->set_max_repeats(Int(2, 8));
    return request;
  }

 private:
  int Int(int least, int most) { return std::uniform_int_distribution<int>(least, most)(random_); }
  bool Chance(int of) { return Int(1, of) == 1; }

  std::string Question() {
    if (Chance(4)) return std::string(Int(1, 80), static_cast<char>('a' + Int(0, 25)));
    return absl::StrCat("What is ", Int(0, 9999), Chance(2) ? "+" : "*", Int(0, 999), "?");
  }

  // The reserve stays unset in half of the requests: its default is above 0 from two tokens on.
  void DrawLengths(v1::GenerateRequest& request) {
    request.set_max_tokens(Int(2, Chance(2) ? 20 : 120));
    if (Chance(2)) request.set_min_answer_tokens(Int(1, request.max_tokens()));
  }

  void DrawThinking(v1::Thinking& thinking, int max_tokens) {
    if (Chance(2)) thinking.set_budget_tokens(Int(0, max_tokens));
    if (Chance(3)) thinking.set_landing_share(static_cast<float>(Int(0, 10)) / 10);
    if (Chance(3)) thinking.set_closing_text(std::string(Int(0, 30), '.'));
    if (Chance(4)) {
      const int most = thinking.has_budget_tokens() ? thinking.budget_tokens() : max_tokens;
      thinking.set_min_tokens(Int(0, most));
      if (Chance(2)) thinking.set_continue_text("");
    }
  }

  int seed_;
  std::mt19937_64 random_;
};

TEST(ReserveTest, NoAnswerIsEmptyWhileTokensAreKeptForIt) {
  WorkerProcess worker({absl::StrCat("--model=", kTinyModel), "--device=cpu"});
  ASSERT_TRUE(worker.listening());
  std::atomic<int> next = 1;
  const auto ask_all = [&] {
    for (int seed = next++; seed <= kRequests; seed = next++) {
      const auto request = RandomRequest(seed).Drawn();
      const Generation all = worker.Generate(request);
      EXPECT_TRUE(all.status.ok()) << all.status << "\n" << request.ShortDebugString();
      EXPECT_GT(all.finished.tokens().answer_tokens(), 0) << request.ShortDebugString();
      // The line feeds after </think> are of the answer and have no text.
      EXPECT_FALSE(all.answer.empty() && all.finished.tokens().answer_tokens() > 1)
          << request.ShortDebugString() << "\n"
          << all.finished.ShortDebugString();
    }
  };
  std::vector<std::future<void>> askers;
  for (int i = 0; i < kAtOnce; ++i) askers.push_back(std::async(std::launch::async, ask_all));
}

}  // namespace
}  // namespace thinkwire::integration
