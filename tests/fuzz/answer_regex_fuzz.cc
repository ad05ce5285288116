// Any text as a regular expression for answers: refused, or a grammar in which every state leads
// on.
#include <cstddef>
#include <cstdint>

#include "tests/fuzz/followed_grammar.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  thinkwire::worker::grammar::FollowGrammar(thinkwire::worker::grammar::RegexFormat{text}, size);
  return 0;
}
