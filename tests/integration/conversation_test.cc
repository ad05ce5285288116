// thinkwire-chat at a terminal, as a person types there; what was asked is what reached the worker.

#include <gtest/gtest.h>
#include <wchar.h>

#include <algorithm>
#include <clocale>
#include <cstdlib>
#include <future>
#include <string>
#include <vector>

#include "tests/fakes/fake_worker.h"
#include "tests/integration/programs.h"
#include "tests/integration/pty_process.h"
#include "tests/integration/router_process.h"

namespace thinkwire::integration {
namespace {

constexpr char kAnswered[] = "[3 tokens of reasoning";
constexpr char kForgotten[] = "[interrupted: this turn is forgotten]";
constexpr char kCtrlC[] = "\x03";
constexpr char kCtrlD[] = "\x04";
constexpr char kUp[] = "\x1b[A";
constexpr char kLeft[] = "\x1b[D";
constexpr char kHome[] = "\x1b[H";
constexpr char kDelete[] = "\x1b[3~";
constexpr char kBackspace[] = "\x7f";

class ConversationTest : public testing::Test {
 protected:
  ConversationTest() : router_("tiny", worker_.address()), chat_(Arguments()) {
    worker_.SetScript({.events = SmallStream()});
    EXPECT_TRUE(chat_.WaitFor("> ")) << chat_.output();
  }

  std::vector<std::string> Arguments() const { return {kChat, "--router", router_.address()}; }

  // Types the rest of a question, waits for its answer and for the next prompt.
  void Ask(const std::string& keys) {
    chat_.Type(keys + "\r");
    EXPECT_TRUE(chat_.WaitFor(kAnswered)) << chat_.output();
    EXPECT_TRUE(chat_.WaitFor("> ")) << chat_.output();
  }

  // A stream that begins, and ends only by being cancelled.
  void NeverAnswer() {
    std::vector<v1::GenerateResponse> events = SmallStream();
    events.resize(3);
    worker_.SetScript({.events = events, .stays_open = true});
  }

  v1::GenerateRequest Request() const { return worker_.last_call().request.request(); }
  const v1::Chat Turns() const { return Request().prompt().chat(); }
  std::string Asked() const { return Turns().messages().rbegin()->content(); }

  FakeWorker worker_{"tiny"};
  RouterProcess router_;
  PtyProcess chat_;
};

// The column behind what was written since the last "\r": of what a line editor uses.
int CursorColumn(const std::string& output) {
  std::setlocale(LC_CTYPE, "C.UTF-8");
  int column = 0;
  for (std::size_t at = output.rfind('\r') + 1; at < output.size();) {
    if (output[at] == '\b') {
      --column;
      ++at;
    } else if (output.compare(at, 2, "\x1b[") == 0) {
      const std::size_t end = output.find_first_not_of("0123456789;?", at + 2);
      if (end == std::string::npos) return -1;
      const int count = std::max(1, std::atoi(output.c_str() + at + 2));
      if (output[end] == 'C') column += count;
      if (output[end] == 'D') column -= count;
      if (output[end] == 'G') column = count - 1;
      at = end + 1;
    } else {
      wchar_t character = 0;
      const int bytes = std::mbtowc(&character, output.c_str() + at, output.size() - at);
      if (bytes < 1) return -1;
      column += std::max(0, wcwidth(character));
      at += static_cast<std::size_t>(bytes);
    }
  }
  return column;
}

TEST_F(ConversationTest, APasteOfSeveralLinesIsOneQuestion) {
  chat_.Paste("What is\r\r1\x07 +\r\t1?\n");
  Ask("");
  EXPECT_EQ(Asked(), "What is\n\n1 +\n\t1?");
  EXPECT_EQ(worker_.num_calls(), 1);
}

TEST_F(ConversationTest, APasteWhileAnAnswerComesIsTheNextQuestion) {
  std::promise<void> pasted;
  worker_.SetScript({.events = SmallStream(), .tamper = [&](v1::WorkerGenerateResponse& message) {
                       if (message.event().has_answer_delta()) pasted.get_future().wait();
                     }});
  chat_.Type("What is 1+1?\r");
  ASSERT_TRUE(chat_.WaitFor("So 2.")) << chat_.output();
  chat_.Paste("one\rtwo");
  pasted.set_value();
  ASSERT_TRUE(chat_.WaitFor(kAnswered)) << chat_.output();
  worker_.SetScript({.events = SmallStream()});
  Ask("");
  EXPECT_EQ(Asked(), "one\ntwo");
}

TEST_F(ConversationTest, EmptyLinesEndNothingAndCtrlDDoes) {
  chat_.Type("\r");
  chat_.Type("  \r");
  Ask("hello");
  EXPECT_EQ(worker_.num_calls(), 1);
  EXPECT_EQ(Asked(), "hello");
  chat_.Type(kCtrlD);
  EXPECT_EQ(chat_.Wait(), 0) << chat_.output();
}

TEST_F(ConversationTest, EnterWhileItThinksHasItAnswerNow) {
  std::vector<v1::GenerateResponse> thinks = SmallStream();
  thinks.resize(3);
  worker_.SetScript({.events = thinks, .stays_open = true});
  chat_.Type("/set answer_now\r");
  ASSERT_TRUE(chat_.WaitFor("> ")) << chat_.output();
  chat_.Type("What is 1+1?\r");
  ASSERT_TRUE(chat_.WaitFor("So 2.")) << chat_.output();
  chat_.Type("x");
  EXPECT_TRUE(worker_.answers_now().empty());
  chat_.Type("\r");
  ASSERT_TRUE(worker_.WaitForAnswersNow(1)) << chat_.output();
  EXPECT_EQ(worker_.answers_now()[0].request.request_id(),
            worker_.last_call().request.request_id());
  for (std::size_t i = 3; i < SmallStream().size(); ++i) worker_.Say(SmallStream()[i]);
  ASSERT_TRUE(chat_.WaitFor("2")) << chat_.output();
  chat_.Type(kCtrlC);
  ASSERT_TRUE(chat_.WaitFor(kForgotten)) << chat_.output();
  worker_.SetScript({.events = SmallStream()});
  Ask("again");
  EXPECT_EQ(Asked(), "again") << "keys that were typed while it thought are lost";
}

TEST_F(ConversationTest, QuotesHoldSeveralTypedLines) {
  chat_.Type("\"\"\"What is\r");
  ASSERT_TRUE(chat_.WaitFor("... ")) << chat_.output();
  chat_.Type("/bye\r");
  ASSERT_TRUE(chat_.WaitFor("... ")) << chat_.output();
  Ask("1+1?\"\"\"");
  EXPECT_EQ(Asked(), "What is\n/bye\n1+1?");
}

TEST_F(ConversationTest, EditsCharactersOfAnyWidth) {
  const int begin = CursorColumn(chat_.output());
  EXPECT_EQ(begin, 2);
  chat_.Type("é你好🙂");
  ASSERT_TRUE(chat_.WaitFor("🙂")) << chat_.output();
  EXPECT_EQ(CursorColumn(chat_.output()), begin + 7);
  chat_.Type(std::string(kLeft) + kLeft + kBackspace + "x");
  ASSERT_TRUE(chat_.WaitFor("x")) << chat_.output();
  Ask("");
  EXPECT_EQ(Asked(), "éx好🙂");
}

TEST_F(ConversationTest, TheCursorStandsWhereItIsBeforeWideCharacters) {
  chat_.Type("你好世界 x");
  ASSERT_TRUE(chat_.WaitFor("x")) << chat_.output();
  chat_.Type(std::string(kHome) + kDelete + "界");
  const auto is_behind_it = [](const std::string& output) { return CursorColumn(output) == 4; };
  EXPECT_TRUE(chat_.WaitUntil(is_behind_it)) << chat_.output();
  Ask("y");
  EXPECT_EQ(Asked(), "界y好世界 x");
}

TEST_F(ConversationTest, ArrowsBringEarlierQuestions) {
  Ask("first");
  Ask("second");
  chat_.Type(std::string(kUp) + kUp);
  Ask("!");
  EXPECT_EQ(Asked(), "first!");
}

TEST_F(ConversationTest, CtrlCForgetsTheTurnAndGoesOn) {
  Ask("first");
  NeverAnswer();
  chat_.Type("Think for ever.\r");
  ASSERT_TRUE(chat_.WaitFor("So 2.")) << chat_.output();
  chat_.Type(kCtrlC);
  ASSERT_TRUE(chat_.WaitFor(kForgotten)) << chat_.output();
  EXPECT_TRUE(worker_.WaitForCancels(1));
  worker_.SetScript({.events = SmallStream()});
  ASSERT_TRUE(chat_.WaitFor("> ")) << chat_.output();
  chat_.Type("not this");
  chat_.Type(kCtrlC);
  Ask("second");
  ASSERT_EQ(Turns().messages_size(), 3);
  EXPECT_EQ(Turns().messages(0).content(), "first");
  EXPECT_EQ(Asked(), "second");
}

TEST_F(ConversationTest, CommandsSetForgetAndEnd) {
  chat_.Type("/set temperature 3\r");
  ASSERT_TRUE(chat_.WaitFor("--temperature: '3' is not a number from 0 to 2")) << chat_.output();
  chat_.Type("/set temperature 0.5\r/set no-think\r/set system Be brief.\r");
  Ask("first");
  EXPECT_EQ(Request().answer_sampling().temperature(), 0.5F);
  EXPECT_EQ(Request().thinking().mode(), v1::THINKING_MODE_OFF);
  EXPECT_EQ(Turns().messages(0).content(), "Be brief.");
  chat_.Type("/clear\r/set temperature\r/set system\r/set thinking\r");
  Ask("second");
  EXPECT_FALSE(Request().answer_sampling().has_temperature());
  EXPECT_EQ(Turns().messages_size(), 1);
  chat_.Type("/nonsense\r");
  ASSERT_TRUE(chat_.WaitFor("there is no command /nonsense")) << chat_.output();
  chat_.Type("/help\r");
  ASSERT_TRUE(chat_.WaitFor("/bye ")) << chat_.output();
  Ask(" /path is a question");
  EXPECT_EQ(Asked(), "/path is a question");
  chat_.Type("/bye\r");
  EXPECT_EQ(chat_.Wait(), 0) << chat_.output();
}

TEST_F(ConversationTest, LeavesNothingTypedToTheShell) {
  // The rest is typed at once with what ends the conversation; the shell's cat would show it.
  PtyProcess shell({"/bin/sh", "-c", "\"$0\" --router \"$1\"; echo a shell; exec cat", kChat,
                    router_.address()});
  ASSERT_TRUE(shell.WaitFor("> ")) << shell.output();
  shell.Type("/bye\rrm -r everything\r");
  ASSERT_TRUE(shell.WaitFor("a shell")) << shell.output();
  shell.Type("hello\r");
  ASSERT_TRUE(shell.WaitFor("hello")) << shell.output();
  EXPECT_EQ(shell.output().find("everything"), std::string::npos) << shell.output();
}

}  // namespace
}  // namespace thinkwire::integration
