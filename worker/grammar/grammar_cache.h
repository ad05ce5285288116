#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "common/mutex.h"
#include "worker/grammar/grammar.h"

namespace thinkwire::worker::grammar {

// The last formats that were asked for, compiled, at most kMaxGrammars of them and of
// kMaxCachedGrammarBytes in all: a service asks with one schema again and again, and what its
// requests learn is shared. Looked up by the format itself.
// Threads: all may be called at once; two that ask for the same new one may both compile it.
class GrammarCache {
 public:
  struct Found {
    std::shared_ptr<const Grammar> grammar;
    bool was_known = false;  // it was not compiled now
  };

  explicit GrammarCache(std::shared_ptr<const Vocabulary> vocabulary)
      : vocabulary_(std::move(vocabulary)) {}

  // Fails: as Grammar::Compile; what was refused is not kept.
  absl::StatusOr<Found> Get(const AnswerFormat& format);

 private:
  struct Kept {
    std::string key;
    std::shared_ptr<const Grammar> grammar;
  };
  std::shared_ptr<const Grammar> Find(const std::string& key);
  void Keep(const std::string& key, std::shared_ptr<const Grammar> grammar);
  void ForgetOldest() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const std::shared_ptr<const Vocabulary> vocabulary_;

  Mutex mu_;
  std::list<Kept> kept_ ABSL_GUARDED_BY(mu_);  // the one used last is first
  absl::flat_hash_map<std::string, std::list<Kept>::iterator> places_ ABSL_GUARDED_BY(mu_);
  std::size_t bytes_ ABSL_GUARDED_BY(mu_) = 0;  // of all that is kept
};

}  // namespace thinkwire::worker::grammar
