#pragma once

#include <string>
#include <string_view>

#include "router/client/chat_session.h"
#include "router/client/line_editor.h"
#include "router/client/question_reader.h"

namespace thinkwire::router::client {

// Questions and answers by turns, until Ctrl-D or /bye; and the commands between them.
// Threads: one.
class Conversation {
 public:
  // With `editor`, whose lines are remembered; null: with plain lines of stdin. Both outlive it.
  Conversation(ChatSession& session, LineEditor* editor);

  void Run();

 private:
  Line ReadLine(const std::string& prompt);
  void Ask(const std::string& question);
  // False: it is over.
  bool Answer(const Said& said);
  bool Obey(const std::string& command);
  void Set(std::string_view setting);

  ChatSession& session_;
  LineEditor* const editor_;
  QuestionReader reader_;
};

}  // namespace thinkwire::router::client
