// What each endpoint answers and each error says, byte for byte, as tests/router/http/transcripts
// has it. Where the door is to answer otherwise, THINKWIRE_REWRITE_TRANSCRIPTS=1 writes the files
// anew, for their difference to be read.

#include "tests/router/http/transcript.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "common/strings.h"
#include "router/http/http_limits.h"
#include "tests/router/http/keyed_door_fixture.h"
#include "tests/router/http/other_clients.h"
#include "tests/router/http/streams.h"

namespace thinkwire::router::http {
namespace {

const std::map<std::string, absl::StatusCode>& Codes() {
  static const std::map<std::string, absl::StatusCode> codes = {
      {"INVALID_ARGUMENT", absl::StatusCode::kInvalidArgument},
      {"UNIMPLEMENTED", absl::StatusCode::kUnimplemented},
      {"FAILED_PRECONDITION", absl::StatusCode::kFailedPrecondition},
      {"RESOURCE_EXHAUSTED", absl::StatusCode::kResourceExhausted},
      {"DEADLINE_EXCEEDED", absl::StatusCode::kDeadlineExceeded},
      {"INTERNAL", absl::StatusCode::kInternal},
  };
  return codes;
}

class TranscriptTest : public KeyedDoorTest {
 protected:
  Intake& intake() override { return keyed_calls_ ? keyed_ : static_cast<Intake&>(service_); }

  void Replay(const std::string& name) {
    const std::string path = absl::StrCat("tests/router/http/transcripts/", name);
    std::vector<Transcript> all = ReadTranscripts(path);
    for (Transcript& one : all) {
      SCOPED_TRACE(one.name);
      Arrange(one.situation);
      RawClient client(port());
      client.Send(absl::StrReplaceAll(one.request, {{View(kIdThatRuns), id_that_runs_}}));
      const std::string reply = ShownReply(client.ReadToEnd());
      others_.clear();
      EXPECT_TRUE(service_.WaitUntilIdle(std::chrono::minutes(1)));
      if (rewrites_) one.reply = reply;
      EXPECT_EQ(reply, one.reply);
    }
    if (rewrites_) Rewrite(path, all);
  }

 private:
  void Arrange(const std::vector<std::string>& situation) {
    FakeWorker::Script script{.events = SmallStream()};
    Door::Options options;
    keyed_calls_ = false;
    begin_others_ = [] {};
    for (const std::string& line : situation) {
      if (!ArrangeDoor(line, options) && !ArrangeWorker(line, script) && !ArrangeOthers(line)) {
        ADD_FAILURE() << "nobody knows how to arrange: " << line;
      }
    }
    options.needs_key = keyed_calls_;
    small_.SetScript(std::move(script));
    Open(options);
    begin_others_();
  }
  bool ArrangeDoor(const std::string& line, Door::Options& options) {
    if (line == "unknown fields are refused") return options.reader.strict = true;
    if (line == "calls need a key") return keyed_calls_ = true;
    if (line == "pages of https://chat.example.org may ask") {
      options.cors_origins = "https://chat.example.org";
      return true;
    }
    if (line == "a body has 20 ms to arrive") {
      options.patience.body = std::chrono::milliseconds(20);
      return true;
    }
    if (line != "there is no page") return false;
    options.page = false;
    return true;
  }
  // Streams by what the file says of them.
  static const std::map<std::string, Stream>& Streams() {
    constexpr int kPieces = static_cast<int>(kMaxWholeAnswerBytes / 4000) + 1;
    static const std::map<std::string, Stream> streams = {
        {"the worker gives two answers", TwoOutputs()},
        {"the worker tells its tokens", ToldTokens(/*reasoning=*/true)},
        {"the worker tells the answer's tokens", ToldTokens(/*reasoning=*/false)},
        {"the answer has more than 8 MiB", LongStream(kPieces)},
    };
    return streams;
  }
  // One of those, or "the worker says INTERNAL NOT_FINITE", "… after 3 events", "…, to try again in
  // 2500 ms".
  static bool ArrangeWorker(const std::string& line, FakeWorker::Script& script) {
    if (const auto found = Streams().find(line); found != Streams().end()) {
      script.events = found->second;
      return true;
    }
    const std::vector<std::string> words = absl::StrSplit(line, absl::ByAnyChar(" ,"));
    if (words.size() < 5 || words[2] != "says" || Codes().count(words[3]) == 0) return false;
    script.end = rpc::Error(Codes().at(words[3]), words[4], "some words");
    script.events.resize(words.size() > 6 && words[5] == "after" ? std::stoul(words[6]) : 0);
    if (words.back() == "ms") {
      const std::chrono::milliseconds delay(std::stoi(words[words.size() - 2]));
      script.end = rpc::WithRetryAfter(script.end, delay);
    }
    return true;
  }
  bool ArrangeOthers(const std::string& line) {
    if (line == "as many bodies arrive as may") {
      begin_others_ = [this] { others_ = FillWithBodies(port()); };
      return true;
    }
    if (line != absl::StrCat("a stream called ", View(kIdThatRuns), " thinks")) return false;
    begin_others_ = [this] { id_that_runs_ = BeginThinking(small_, others_.emplace_back(port())); };
    return true;
  }

  // The requests as they were written, with other replies.
  static void Rewrite(const std::string& path, const std::vector<Transcript>& all) {
    std::ifstream old(path);
    std::vector<std::string> kept;
    bool in_reply = false;
    for (std::string line; std::getline(old, line);) {
      if (line.starts_with("== ")) in_reply = false;
      in_reply = in_reply || line.starts_with("HTTP/1.1 ");
      if (line.starts_with("== ")) kept.emplace_back();
      if (!in_reply && !line.empty()) absl::StrAppend(&kept.back(), line, "\n");
    }
    std::ofstream file(path);
    for (std::size_t i = 0; i < all.size(); ++i) file << kept[i] << all[i].reply;
  }

  const bool rewrites_ = std::getenv("THINKWIRE_REWRITE_TRANSCRIPTS") != nullptr;
  bool keyed_calls_ = false;
  std::function<void()> begin_others_;
  std::vector<RawClient> others_;  // who are there as the request comes
  std::string id_that_runs_;
};

TEST_F(TranscriptTest, OpenAisEndpoints) { Replay("openai.txt"); }
TEST_F(TranscriptTest, OpenAisErrors) { Replay("openai_errors.txt"); }
TEST_F(TranscriptTest, TheResponsesApi) { Replay("responses.txt"); }
TEST_F(TranscriptTest, OllamasEndpointsAndErrors) { Replay("ollama.txt"); }
TEST_F(TranscriptTest, ErrorsOfHttpItself) { Replay("http.txt"); }
TEST_F(TranscriptTest, WhileTheRouterDrains) {
  service_.StartDraining();
  Replay("draining.txt");
}
TEST_F(TranscriptTest, WithoutALiveWorker) {
  small_.Kill();
  large_.Kill();
  ASSERT_TRUE(pool_.WaitForLive(0, 0));
  ASSERT_TRUE(pool_.WaitForLive(1, 0));
  Replay("without_workers.txt");
}

}  // namespace
}  // namespace thinkwire::router::http
