#include "worker/grammar/grammar_cache.h"

#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "common/peer_limits.h"
#include "common/status.h"

namespace thinkwire::worker::grammar {
namespace {

// Different formats have different keys.
struct KeyOf {
  std::string operator()(const JsonSchemaFormat& format) { return "s" + format.schema; }
  std::string operator()(const RegexFormat& format) { return "r" + format.pattern; }
  std::string operator()(const ChoicesFormat& format) {
    std::string key = "c";
    for (const std::string& choice : format.choices) {
      absl::StrAppend(&key, choice.size(), ":", choice);
    }
    return key;
  }
};

}  // namespace

absl::StatusOr<GrammarCache::Found> GrammarCache::Get(const AnswerFormat& format) {
  const std::string key = std::visit(KeyOf{}, format);
  if (auto known = Find(key)) return Found{.grammar = std::move(known), .was_known = true};
  ASSIGN_OR_RETURN(std::shared_ptr<const Grammar> grammar, Grammar::Compile(format, vocabulary_));
  Keep(key, grammar);
  return Found{.grammar = std::move(grammar), .was_known = false};
}

std::shared_ptr<const Grammar> GrammarCache::Find(const std::string& key) {
  MutexLock lock(mu_);
  const auto place = places_.find(key);
  if (place == places_.end()) return nullptr;
  kept_.splice(kept_.begin(), kept_, place->second);
  return place->second->grammar;
}

void GrammarCache::Keep(const std::string& key, std::shared_ptr<const Grammar> grammar) {
  MutexLock lock(mu_);
  if (places_.contains(key)) return;
  bytes_ += grammar->bytes();
  kept_.push_front({key, std::move(grammar)});
  places_[key] = kept_.begin();
  while (kept_.size() > kMaxGrammars || (bytes_ > kMaxCachedGrammarBytes && kept_.size() > 1)) {
    ForgetOldest();
  }
}

void GrammarCache::ForgetOldest() {
  bytes_ -= kept_.back().grammar->bytes();
  places_.erase(kept_.back().key);
  kept_.pop_back();
}

}  // namespace thinkwire::worker::grammar
