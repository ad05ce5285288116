#pragma once

#include <functional>
#include <string>

namespace thinkwire::router::client {

// What a person typed before Enter; a paste has line feeds in it.
struct Line {
  enum class Kind { kText, kAbandoned, kEnd };
  Kind kind = Kind::kEnd;  // kAbandoned: Ctrl-C, with what stood there; kEnd: Ctrl-D
  std::string text{};
};
using ReadLine = std::function<Line(const std::string& prompt)>;

// What a person wants.
struct Said {
  enum class Kind { kQuestion, kCommand, kNothing, kAbandoned, kEnd };
  Kind kind = Kind::kEnd;
  std::string text{};  // of a question; of a command without the slash
};

// Makes questions and commands of lines. A line is a question, with all line feeds of a paste; what
// stands between """ and """ is one too, over any number of lines. A single line that begins with a
// slash is a command, which a blank before it prevents.
class QuestionReader {
 public:
  explicit QuestionReader(ReadLine read_line);

  // kNothing: an empty line.
  Said Read();

 private:
  // The rest of a block that `text` begins.
  Said ReadBlock(std::string text);

  const ReadLine read_line_;
};

}  // namespace thinkwire::router::client
