// Any conversation: refused, or rendered so that the only control tokens are the template's own.
#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "common/check.h"
#include "worker/text/chat_template.h"
#include "worker/text/tokenizer.h"

namespace {

using namespace thinkwire::worker::text;

constexpr char kModel[] = "deploy/models/tiny-r1";  // from the repository's root

std::unique_ptr<Tokenizer> LoadTokenizer() {
  auto tokenizer = Tokenizer::Load(kModel);
  CHECK(tokenizer.ok(), "runs in the repository's root");
  return *std::move(tokenizer);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::unique_ptr<Tokenizer> tokenizer = LoadTokenizer();
  FuzzedDataProvider provider(data, size);
  const auto mode = provider.PickValueInArray(
      {ThinkingMode::kForced, ThinkingMode::kOff, ThinkingMode::kModelDecides});
  const auto kind = provider.PickValueInArray({TemplateKind::kDistill, TemplateKind::kR1});
  std::vector<ChatMessage> messages;
  std::size_t turns = 0;  // that open with a control token
  while (provider.remaining_bytes() > 0) {
    const Role role = provider.PickValueInArray({Role::kSystem, Role::kUser, Role::kAssistant});
    messages.push_back({role, provider.ConsumeRandomLengthString()});
    if (role != Role::kSystem) ++turns;
  }
  const auto chat_template = ChatTemplate::Create(*tokenizer, kind);
  CHECK(chat_template.ok(), "the bundled model's tokenizer has the control tokens");
  const auto ids = chat_template->Render(messages, mode);
  if (!ids.ok()) return 0;
  const auto count = [&ids](std::optional<std::int32_t> id) {
    return static_cast<std::size_t>(std::ranges::count(*ids, *id));
  };
  CHECK(count(tokenizer->bos_id()) <= 1, "one beginning");
  CHECK(count(tokenizer->user_id()) + count(tokenizer->assistant_id()) == turns + 1,
        "each turn opens once, and the model's does");
  CHECK(count(tokenizer->think_begin_id()) == (mode == ThinkingMode::kModelDecides ? 0U : 1U),
        "thinking opens at the end alone");
  CHECK(count(tokenizer->think_end_id()) == (mode == ThinkingMode::kOff ? 1U : 0U),
        "thinking closes where it is off alone");
  return 0;
}
