#include "worker/serve/answer_formats.h"

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/clock.h"
#include "common/rpc/status_details.h"
#include "common/status.h"
#include "worker/grammar/grammar.h"
#include "worker/grammar/vocabulary.h"

namespace thinkwire::worker::serve {
namespace {

class Guide final : public engine::AnswerGuide {
 public:
  explicit Guide(std::shared_ptr<const grammar::Grammar> grammar) : matcher_(std::move(grammar)) {}

  bool Accept(std::int32_t id) override { return matcher_.Accept(id); }
  void NextMask(std::span<step::MaskWord> mask) override { matcher_.NextMask(mask); }
  std::function<void()> MaskWork() override { return matcher_.MaskWork(); }
  std::vector<std::int32_t> ForcedRun() override { return matcher_.ForcedRun(); }

 private:
  grammar::Matcher matcher_;
};

class CompiledFormat final : public engine::AnswerFormat {
 public:
  explicit CompiledFormat(std::shared_ptr<const grammar::Grammar> grammar)
      : grammar_(std::move(grammar)) {}

  std::unique_ptr<engine::AnswerGuide> Begin() const override {
    return std::make_unique<Guide>(grammar_);
  }

 private:
  const std::shared_ptr<const grammar::Grammar> grammar_;
};

grammar::AnswerFormat FormatOf(const v1::AnswerFormat& format) {
  if (format.has_json_schema()) return grammar::JsonSchemaFormat{format.json_schema()};
  if (format.has_regex()) return grammar::RegexFormat{format.regex()};
  const auto& choices = format.choices().choices();
  return grammar::ChoicesFormat{{choices.begin(), choices.end()}};
}

std::string FieldOf(const v1::AnswerFormat& format) {
  if (format.has_json_schema()) return "answer_format.json_schema";
  return format.has_regex() ? "answer_format.regex" : "answer_format.choices.choices";
}

absl::Status Refusal(const v1::AnswerFormat& format, const absl::Status& status) {
  if (!absl::IsInvalidArgument(status)) return status;
  const std::string message(status.message());
  const absl::string_view what = absl::StripPrefix(message, "json_schema: ");
  return rpc::InvalidField(FieldOf(format), absl::StrCat("is refused: ", what));
}

}  // namespace

AnswerFormats::AnswerFormats(const text::Tokenizer& tokenizer, const ServedModel& model,
                             WorkerMetrics* metrics)
    : tokenizer_(tokenizer), model_(model), metrics_(metrics) {}

absl::StatusOr<AnswerFormats::Format> AnswerFormats::Read(const v1::AnswerFormat& format) {
  const Clock::TimePoint begin = Clock::Real().Now();
  const auto found = Compile(format);
  const bool is_known = found.ok() && found->was_known;
  if (metrics_ != nullptr) metrics_->CountFormat(is_known, Clock::Real().Now() - begin);
  if (!found.ok()) return Refusal(format, found.status());
  return Format{.format = std::make_shared<const CompiledFormat>(found->grammar),
                .bytes = found->grammar->bytes()};
}

absl::StatusOr<grammar::GrammarCache::Found> AnswerFormats::Compile(
    const v1::AnswerFormat& format) {
  ASSIGN_OR_RETURN(grammar::GrammarCache* const cache, Cache());
  return cache->Get(FormatOf(format));
}

absl::StatusOr<grammar::GrammarCache*> AnswerFormats::Cache() {
  MutexLock lock(mu_);
  if (cache_ != nullptr) return cache_.get();
  auto vocabulary =
      grammar::Vocabulary::Create(tokenizer_, model_.end_of_sequence_ids, model_.limits.vocab_size);
  if (!vocabulary.ok()) {
    return rpc::InvalidField("answer_format",
                             absl::StrCat("must be unset: ", vocabulary.status().message()));
  }
  cache_ = std::make_unique<grammar::GrammarCache>(*std::move(vocabulary));
  return cache_.get();
}

}  // namespace thinkwire::worker::serve
