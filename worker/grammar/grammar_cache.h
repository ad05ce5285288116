#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "common/mutex.h"
#include "worker/grammar/grammar.h"

namespace thinkwire::worker::grammar {

// The last kMaxGrammars formats that were asked for, compiled: a service asks with one schema again
// and again, and what its requests learn is shared. Looked up by the format itself.
// Threads: all may be called at once; two that ask for the same new one may both compile it.
class GrammarCache {
 public:
  struct Counts {
    std::int64_t hits = 0;
    std::int64_t compiled = 0;  // refused ones too
  };

  explicit GrammarCache(std::shared_ptr<const Vocabulary> vocabulary)
      : vocabulary_(std::move(vocabulary)) {}

  // Fails: as Grammar::Compile; what was refused is not kept.
  absl::StatusOr<std::shared_ptr<const Grammar>> Get(const AnswerFormat& format);

  Counts counts() const;

 private:
  struct Kept {
    std::string key;
    std::shared_ptr<const Grammar> grammar;
  };
  std::shared_ptr<const Grammar> Find(const std::string& key);
  void Keep(const std::string& key, std::shared_ptr<const Grammar> grammar);

  const std::shared_ptr<const Vocabulary> vocabulary_;

  mutable Mutex mu_;
  std::list<Kept> kept_ ABSL_GUARDED_BY(mu_);  // the one used last is first
  absl::flat_hash_map<std::string, std::list<Kept>::iterator> places_ ABSL_GUARDED_BY(mu_);
  Counts counts_ ABSL_GUARDED_BY(mu_);
};

}  // namespace thinkwire::worker::grammar
