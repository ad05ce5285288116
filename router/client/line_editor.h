#pragma once

#include <memory>
#include <string>

#include "router/client/question_reader.h"
#include "router/client/terminal_mode.h"

namespace thinkwire::router::client {

// Lines that a person types at a terminal, with editing, history and pastes of several lines, by
// libedit: prompt and line on stderr. ~/.editrc is obeyed. What is typed between two lines is not
// shown, and belongs to the next one.
// Threads: one.
class LineEditor {
 public:
  // Whether stdin and stderr are terminals.
  static bool CanBe();

  // REQUIRES: CanBe; one at a time.
  LineEditor();
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  // Waits for a line. A paste of more than kMaxQuestionBytes is cut.
  Line Read(const std::string& prompt);

  // Arrow keys bring it again, as long as this lives.
  void Remember(const std::string& text);

  TerminalMode& terminal() { return terminal_; }

 private:
  struct Libedit;

  TerminalMode terminal_;
  const std::unique_ptr<Libedit> libedit_;
};

}  // namespace thinkwire::router::client
