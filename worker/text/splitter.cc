#include "worker/text/splitter.h"

#include <utility>

#include "common/status.h"

namespace thinkwire::worker::text {

absl::StatusOr<Splitter> Splitter::Create(const std::vector<std::string>& patterns) {
  Splitter splitter;
  if (patterns.size() == 1) splitter.distill_ = DistillSplitter::For(patterns.front());
  if (splitter.distill_.has_value()) return splitter;
  ASSIGN_OR_RETURN(RegexSplitter regex, RegexSplitter::Create(patterns));
  splitter.regex_.emplace(std::move(regex));
  return splitter;
}

void Splitter::Split(std::string_view utf8, PieceSink sink) const {
  if (distill_.has_value()) return distill_->Split(utf8, sink);
  PieceBatch batch(utf8, sink);
  regex_->Split(utf8, [&](std::string_view piece) {
    batch.Reserve(1);
    batch.Add(piece.data(), piece.size());
  });
}

}  // namespace thinkwire::worker::text
