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

absl::StatusOr<std::shared_ptr<const Grammar>> GrammarCache::Get(const AnswerFormat& format) {
  const std::string key = std::visit(KeyOf{}, format);
  if (auto known = Find(key)) return known;
  ASSIGN_OR_RETURN(std::shared_ptr<const Grammar> grammar, Grammar::Compile(format, vocabulary_));
  Keep(key, grammar);
  return grammar;
}

std::shared_ptr<const Grammar> GrammarCache::Find(const std::string& key) {
  MutexLock lock(mu_);
  const auto place = places_.find(key);
  if (place == places_.end()) {
    ++counts_.compiled;
    return nullptr;
  }
  ++counts_.hits;
  kept_.splice(kept_.begin(), kept_, place->second);
  return place->second->grammar;
}

void GrammarCache::Keep(const std::string& key, std::shared_ptr<const Grammar> grammar) {
  MutexLock lock(mu_);
  if (places_.contains(key)) return;
  kept_.push_front({key, std::move(grammar)});
  places_[key] = kept_.begin();
  if (kept_.size() <= kMaxGrammars) return;
  places_.erase(kept_.back().key);
  kept_.pop_back();
}

GrammarCache::Counts GrammarCache::counts() const {
  MutexLock lock(mu_);
  return counts_;
}

}  // namespace thinkwire::worker::grammar
