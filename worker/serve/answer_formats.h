#pragma once

#include <cstddef>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "common/mutex.h"
#include "thinkwire/v1/reasoning.pb.h"
#include "worker/engine/answer_format.h"
#include "worker/grammar/grammar_cache.h"
#include "worker/serve/served_model.h"
#include "worker/serve/worker_metrics.h"
#include "worker/text/tokenizer.h"

namespace thinkwire::worker::serve {

// What requests' answers must look like, made from what they say: grammars over the model's
// vocabulary, which is laid out for them when the first one asks.
// Threads: any; takes some milliseconds where a format is new, and the first time some tenths of a
// second. Borrows all, which must outlive it and the engine's requests.
class AnswerFormats {
 public:
  // A format, and what it takes of memory that others do not share, at most.
  struct Format {
    std::shared_ptr<const engine::AnswerFormat> format;
    std::size_t bytes = 0;
  };

  // `metrics` may be null.
  AnswerFormats(const text::Tokenizer& tokenizer, const ServedModel& model, WorkerMetrics* metrics);

  // REQUIRES: rpc::CheckRequest of its request is OK.
  // Fails: INVALID_ARGUMENT, naming the field, and of a schema the JSON pointer of what is not
  // supported; or that the variant's vocabulary cannot write every text.
  absl::StatusOr<Format> Read(const v1::AnswerFormat& format);

 private:
  absl::StatusOr<grammar::GrammarCache*> Cache();
  absl::StatusOr<grammar::GrammarCache::Found> Compile(const v1::AnswerFormat& format);

  const text::Tokenizer& tokenizer_;
  const ServedModel& model_;
  WorkerMetrics* const metrics_;

  Mutex mu_;
  std::unique_ptr<grammar::GrammarCache> cache_ ABSL_GUARDED_BY(mu_);
};

}  // namespace thinkwire::worker::serve
