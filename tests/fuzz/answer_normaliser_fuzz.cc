// Any text as an answer in a vote: it counts as something short, and as the same again.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/check.h"
#include "router/consensus/answer_normaliser.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace thinkwire;
  using namespace thinkwire::router::consensus;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const AnswerKind kind : {AnswerKind::kFree, AnswerKind::kExact, AnswerKind::kJson}) {
    const auto answer = NormaliseAnswer(text, kind);
    CHECK(answer == NormaliseAnswer(text, kind), "it counts as the same again");
    if (!answer) continue;
    CHECK(answer->size() <= kMaxNormalisedBytes, "what is counted is short");
  }
  return 0;
}
