#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/rpc/channel.h"
#include "router/client/answer_key.h"
#include "router/client/chat_options.h"
#include "router/client/chat_screen.h"
#include "router/client/interrupts.h"
#include "router/client/output_order.h"
#include "router/client/stream_record.h"
#include "thinkwire/v1/reasoning.grpc.pb.h"

namespace thinkwire::router::client {

// The program's exit codes, beside 0.
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitNoConnection = 3;
inline constexpr int kExitInterrupted = 130;

// Questions to one router, each with the turns before it, and what comes of them on the screen.
// Where the router is lost the next of the list goes on, with the answer that was begun too.
// Threads: one.
class ChatSession {
 public:
  // Does not connect yet. `interrupts` outlives the session.
  // `securities`: of the options' routers, each at its index.
  ChatSession(ChatOptions options, const std::vector<rpc::ChannelSecurity>& securities,
              Interrupts& interrupts);

  // Asks one question and shows what comes. The exit code; unless it is 0 the turn is forgotten.
  int Ask(const std::string& question);

  // Shows the router's variants. The exit code.
  int List();

  // The next question is the first one again.
  void Forget() { turns_.clear(); }

  // What holds from the next question on.
  ChatOptions& options() { return options_; }
  Screen& screen() { return screen_; }

  // Says why something is not done. Returns `code`.
  int Complain(int code, const std::string& sentence);

 private:
  struct Turn {
    std::string question;
    std::string answer;
  };

  v1::GenerateRequest RequestFor(const std::string& question) const;
  absl::Status Generate(const v1::GenerateRequest& request, bool& interrupted);
  // One router's part of a stream. `heard`: something came.
  absl::Status Read(StreamRecord& record, grpc::ClientContext& context, bool& heard);
  const std::string& router() const { return options_.routers[router_]; }
  // Lets Enter have it answer now, from when it has begun to when it has thought.
  void WatchAnswerKey(const v1::GenerateResponse& response);
  void EndAnswerKey();
  void Show(const v1::GenerateResponse& response);
  void ShowOfVote(const v1::GenerateResponse& response);
  // Whose text comes next, where there are several outputs and it is another's.
  void ShowOutput(std::int32_t output);
  bool has_several() const { return options_.n.value_or(1) > 1; }
  void ShowAsJson(const v1::GenerateResponse& response);
  void ShowToPerson(const v1::GenerateResponse& response);
  void ShowStarted(const v1::Started& started);
  void ShowRestarted(const v1::Restarted& restarted);
  void ShowReasoningFinished(const v1::ReasoningFinished& finished);
  void ShowProgress(const v1::Progress& progress);
  void ShowFinished(const v1::Finished& finished);
  void ShowIds();
  void ShowCompleted(const v1::Completed& completed);
  void ShowVotes(const v1::Completed& completed);
  void ShowErrorAsJson(const absl::Status& status);
  // What went wrong, as a sentence. The exit code.
  int Explain(const absl::Status& status);
  template <class Ids>
  void Collect(const Ids& ids) {
    if (options_.show_ids) ids_.insert(ids_.end(), ids.begin(), ids.end());
  }

  ChatOptions options_;
  Interrupts& interrupts_;
  Screen screen_;
  std::vector<std::unique_ptr<v1::ReasoningService::Stub>> stubs_;  // of the routers
  std::size_t router_ = 0;                                          // that is asked now
  std::vector<Turn> turns_;                                         // none with --raw
  std::string answer_;
  std::optional<std::int32_t> voted_for_;  // the output that has won
  std::optional<AnswerKey> answer_key_;    // while it thinks
  std::uint64_t seed_ = 0;
  std::vector<std::int32_t> ids_;
  OutputOrder order_;
  std::int32_t output_ = -1;  // whose text came last; -1: none's
};

}  // namespace thinkwire::router::client
