#include "router/client/conversation.h"

#include <cstdio>
#include <iostream>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/shown_text.h"

namespace thinkwire::router::client {
namespace {

constexpr char kWelcome[] = "Ask something. /help says what else there is, Ctrl-D ends.";

constexpr char kHelp[] =
    "Enter asks. A paste of several lines is one question; \"\"\" begins and ends one that is\n"
    "typed over several lines. A blank before a slash makes a question of it.\n"
    "  /set              shows what can be set, and how it is\n"
    "  /set NAME VALUE   sets it from the next question on; without a value it is unset\n"
    "  /clear            forgets the conversation\n"
    "  /help             shows this\n"
    "  /bye              ends, as Ctrl-D does\n"
    "Arrows bring earlier questions again, Ctrl-R searches them. Ctrl-C leaves a line, or stops "
    "an\n"
    "answer, and the turn is forgotten.";

}  // namespace

Conversation::Conversation(ChatSession& session, LineEditor* editor)
    : session_(session),
      editor_(editor),
      reader_([this](const std::string& prompt) { return ReadLine(prompt); }) {}

void Conversation::Run() {
  session_.screen().Note(kWelcome);
  while (Answer(reader_.Read())) {
  }
}

Line Conversation::ReadLine(const std::string& prompt) {
  if (editor_ != nullptr) return editor_->Read(prompt);
  std::fputs(prompt.c_str(), stderr);
  Line line{.kind = Line::Kind::kText};
  if (!std::getline(std::cin, line.text)) line.kind = Line::Kind::kEnd;
  return line;
}

bool Conversation::Answer(const Said& said) {
  switch (said.kind) {
    case Said::Kind::kQuestion:
      Ask(said.text);
      return true;
    case Said::Kind::kCommand:
      return Obey(said.text);
    case Said::Kind::kAbandoned:
      if (said.text.empty()) session_.screen().Note("[Ctrl-D or /bye ends]");
      return true;
    case Said::Kind::kNothing:
      return true;
    case Said::Kind::kEnd:
      std::fputs("\n", stderr);  // Ctrl-D leaves the cursor behind the prompt
      return false;
  }
  return false;
}

void Conversation::Ask(const std::string& question) {
  if (editor_ != nullptr) editor_->Remember(question);
  if (session_.Ask(question) == kExitInterrupted) {
    session_.screen().Note("[interrupted: this turn is forgotten]");
  }
}

bool Conversation::Obey(const std::string& command) {
  if (editor_ != nullptr) editor_->Remember(absl::StrCat("/", command));
  const std::string name = command.substr(0, command.find_first_of(" \t"));
  if (name == "bye") return false;
  if (name == "clear") {
    session_.Forget();
    session_.screen().Note("[the conversation is forgotten]");
  } else if (name == "help") {
    session_.screen().Note(kHelp);
  } else if (name == "set") {
    Set(std::string(absl::StripAsciiWhitespace(command.substr(name.size()))));
  } else {
    session_.Complain(kExitUsage, absl::StrCat("there is no command /", ShownText(name),
                                               " (see /help); a blank before it asks it"));
  }
  return true;
}

void Conversation::Set(std::string_view setting) {
  if (setting.empty()) {
    session_.screen().Note(DescribeSettings(session_.options()));
    return;
  }
  const absl::Status status = SetInConversation(setting, session_.options());
  if (!status.ok()) session_.Complain(kExitUsage, std::string(status.message()));
}

}  // namespace thinkwire::router::client
