// Any bytes as tokenizer.json: refused, or a tokenizer whose text comes back from its ids.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/check.h"
#include "tests/fuzz/refusal.h"
#include "tests/fuzz/scratch_dir.h"
#include "worker/text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using thinkwire::worker::text::Tokenizer;
  static const thinkwire::fuzz::ScratchDir dir;
  dir.Write("tokenizer.json", std::string_view(reinterpret_cast<const char*>(data), size));
  const auto tokenizer = Tokenizer::Load(dir.path());
  if (!tokenizer.ok()) {
    thinkwire::fuzz::CheckRefusal(tokenizer.status());
    return 0;
  }
  for (const std::string_view text :
       {"Hello  wörld 12345\n\n", "<think>ab</think>", "\xF0\x9F\x92"}) {
    for (const std::int32_t id : (*tokenizer)->Encode(text)) {
      CHECK(id >= 0 && id < (*tokenizer)->num_ids(), "ids are defined");
    }
    for (const std::int32_t id : (*tokenizer)->EncodeUserText(text)) {
      CHECK(!(*tokenizer)->IsAdded(id), "a user's text has no control tokens");
    }
  }
  return 0;
}
