#include "worker/grammar/grammar.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/peer_limits.h"
#include "common/status.h"
#include "common/utf8.h"
#include "worker/grammar/json_schema.h"
#include "worker/grammar/regex.h"

namespace thinkwire::worker::grammar {
namespace {

struct Parse {
  Expressions& expressions;
  Characters& characters;

  absl::StatusOr<Expr> operator()(const JsonSchemaFormat& format) {
    return ParseJsonSchema(format.schema, expressions, characters);
  }

  absl::StatusOr<Expr> operator()(const RegexFormat& format) {
    if (format.pattern.size() > kMaxPatternBytes) {
      return absl::InvalidArgumentError(
          absl::StrCat("regex: longer than ", kMaxPatternBytes, " bytes"));
    }
    return ParseRegex(format.pattern, false, Spelling::kText, expressions, characters);
  }

  absl::StatusOr<Expr> operator()(const ChoicesFormat& format) {
    std::vector<Expr> choices;
    for (const std::string& choice : format.choices) {
      if (choice.size() > kMaxChoiceBytes || !IsValidUtf8(choice) || choice.empty()) {
        return absl::InvalidArgumentError(
            absl::StrCat("choices: each is UTF-8 of 1 to ", kMaxChoiceBytes, " bytes"));
      }
      choices.push_back(expressions.Literal(choice));
    }
    return expressions.AnyOf(std::move(choices));
  }
};

// Valid UTF-8 at the begin of `bytes`.
std::string_view WholeCharacters(std::string_view bytes) {
  std::size_t end = 0;
  while (end < bytes.size()) {
    const Utf8Step step = DecodeUtf8(bytes.substr(end));
    if (step.kind != Utf8Step::Kind::kCharacter) break;
    end += step.length;
  }
  return bytes.substr(0, end);
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Grammar>> Grammar::Compile(
    const AnswerFormat& format, std::shared_ptr<const Vocabulary> vocabulary) {
  Expressions expressions;
  Characters characters(expressions);
  ASSIGN_OR_RETURN(const Expr start, std::visit(Parse{expressions, characters}, format));
  if (expressions.num_nodes() > kMaxGrammarNodes) {
    return absl::InvalidArgumentError("the answer's format is too large");
  }
  expressions.Seal();
  if (expressions.nesting(start) > kMaxAnswerNesting) {
    return absl::InvalidArgumentError(
        absl::StrCat("the answer's format accepts nothing, or nothing that is nested ",
                     kMaxAnswerNesting, " deep at most"));
  }
  return std::shared_ptr<const Grammar>(
      new Grammar(std::move(expressions), start, std::move(vocabulary)));
}

Grammar::Grammar(Expressions compiled, Expr start, std::shared_ptr<const Vocabulary> vocabulary)
    : vocabulary_(std::move(vocabulary)),
      compiled_(std::move(compiled)),
      start_(start),
      states_(std::make_shared<States>(compiled_, *vocabulary_)) {}

Matcher::Matcher(std::shared_ptr<const Grammar> grammar)
    : grammar_(std::move(grammar)), state_(grammar_->start_) {
  MutexLock lock(grammar_->mu_);
  states_ = grammar_->states_;
}

void Matcher::Update() {
  if (grammar_->states_->is_full()) {
    grammar_->states_ = std::make_shared<States>(grammar_->compiled_, *grammar_->vocabulary_);
  }
  if (states_ == grammar_->states_) return;
  state_ = grammar_->states_->Import(*states_, state_);
  for (Expr& past : past_) past = grammar_->states_->Import(*states_, past);
  states_ = grammar_->states_;
}

bool Matcher::Accept(std::int32_t id) {
  MutexLock lock(grammar_->mu_);
  Update();
  Expr next = kNothing;
  const auto& ends = grammar_->vocabulary_->end_ids();
  if (std::find(ends.begin(), ends.end(), id) != ends.end()) {
    if (!states_->matches_empty(state_)) return false;
    next = kEmptyText;
  } else {
    const std::string_view bytes = grammar_->vocabulary_->Bytes(id);
    if (bytes.empty()) return false;
    next = states_->After(state_, bytes);
    if (next == kNothing) return false;
  }
  past_.push_back(state_);
  if (past_.size() > kMaxRewind) past_.pop_front();
  state_ = next;
  return true;
}

void Matcher::NextMask(std::span<MaskWord> mask) {
  {
    MutexLock lock(grammar_->mu_);
    Update();
    if (states_->TellMask(state_, mask)) return;
  }
  states_->FindMask(state_, mask, grammar_->mu_);
}

std::function<void()> Matcher::MaskWork() {
  MutexLock lock(grammar_->mu_);
  Update();
  if (states_->knows_mask(state_)) return nullptr;
  return [grammar = grammar_, states = states_, state = state_] {
    std::vector<MaskWord> mask(grammar->vocabulary().num_words());
    states->FindMask(state, mask, grammar->mu_);
  };
}

std::vector<std::int32_t> Matcher::ForcedRun() {
  Expr end = kNothing;
  std::string bytes;
  bool over = false;
  {
    MutexLock lock(grammar_->mu_);
    Update();
    bytes = states_->ForcedBytes(state_, &end);
    over = states_->matches_empty(end) && !states_->HasNext(end);
  }
  const std::string_view text = WholeCharacters(bytes);
  std::vector<std::int32_t> ids = grammar_->vocabulary_->Encode(text);
  if (!ids.empty() && !(over && text.size() == bytes.size())) ids.pop_back();
  // What the tokenizer normalises away is not what the grammar wants.
  std::size_t place = 0;
  for (auto id = ids.begin(); id != ids.end(); ++id) {
    const std::string_view token = grammar_->vocabulary_->Bytes(*id);
    if (token.empty() || text.substr(place, token.size()) != token) {
      ids.erase(id, ids.end());
      break;
    }
    place += token.size();
  }
  return ids;
}

bool Matcher::IsComplete() const {
  MutexLock lock(grammar_->mu_);
  return states_->matches_empty(state_);
}

bool Matcher::IsOver() const {
  MutexLock lock(grammar_->mu_);
  return states_->matches_empty(state_) && !states_->HasNext(state_);
}

void Matcher::Rewind(std::size_t num_ids) {
  CHECK(num_ids <= past_.size(), "only what was accepted last is taken back");
  if (num_ids == 0) return;
  state_ = past_[past_.size() - num_ids];
  past_.resize(past_.size() - num_ids);
}

}  // namespace thinkwire::worker::grammar
