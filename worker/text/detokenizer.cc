#include "worker/text/detokenizer.h"

#include <algorithm>

#include "common/utf8.h"

namespace thinkwire::worker::text {

void Detokenizer::Append(std::int32_t id, std::string* out) {
  if (tokenizer_->IsSpecial(id)) return;
  const std::string_view bytes = tokenizer_->TokenBytes(id);
  if (num_held_ == 0) {
    AppendBytes(bytes, out);
  } else if (!bytes.empty()) {
    std::string joined(held_.data(), num_held_);
    joined.append(bytes);
    AppendBytes(joined, out);
  }
}

void Detokenizer::Flush(std::string* out) {
  if (num_held_ > 0) out->append(kReplacementCharacter);
  num_held_ = 0;
}

// Replaces what is held.
void Detokenizer::AppendBytes(std::string_view bytes, std::string* out) {
  num_held_ = 0;
  while (!bytes.empty()) {
    const Utf8Step step = DecodeUtf8(bytes);
    switch (step.kind) {
      case Utf8Step::Kind::kCharacter:
        out->append(bytes.substr(0, step.length));
        break;
      case Utf8Step::Kind::kInvalid:
        out->append(kReplacementCharacter);
        break;
      case Utf8Step::Kind::kIncomplete:
        std::copy(bytes.begin(), bytes.end(), held_.begin());
        num_held_ = bytes.size();
        break;
    }
    bytes.remove_prefix(step.length);
  }
}

}  // namespace thinkwire::worker::text
