#pragma once

#include <cstdio>
#include <string>
#include <string_view>

namespace thinkwire::router::client {

// Where a person reads: the answer on stdout, all else on stderr, dimmed where that is a terminal
// and NO_COLOR is not set. On a terminal control characters of the model's text are not passed on.
// Threads: one.
class Screen {
 public:
  // `out` and `err` outlive the screen; whether they are terminals is looked up.
  Screen(std::FILE* out, std::FILE* err);

  void Reasoning(std::string_view text);
  void Answer(std::string_view text);
  // A whole line about the request, on a line of its own.
  void Note(std::string_view line);
  // The same, replaced by the next one; nothing where stderr is no terminal.
  void Progress(std::string_view line);
  // Ends a begun line of the answer or the reasoning.
  void EndLine();

  bool err_is_terminal() const { return err_is_terminal_; }

 private:
  enum class Open { kNothing, kReasoning, kAnswer, kProgress };
  void Switch(Open to);
  void WriteErr(std::string_view text, bool dim);

  std::FILE* const out_;
  std::FILE* const err_;
  const bool out_is_terminal_;
  const bool err_is_terminal_;
  const bool dims_;
  Open open_ = Open::kNothing;  // who wrote last, and may go on
  bool line_is_begun_ = false;  // of reasoning or answer: its text does not end with a line feed
};

// `text` without control characters but line feed and tab, so that it cannot drive a terminal.
// Bytes of UTF-8 sequences stay as they are.
std::string WithoutControls(std::string_view text);

}  // namespace thinkwire::router::client
