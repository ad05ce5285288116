#pragma once

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "common/check.h"
#include "worker/serve/request_reader.h"
#include "worker/text/chat_template.h"
#include "worker/text/tokenizer.h"

namespace thinkwire {

// What a worker reads requests with: the bundled model's texts. Runs in the repository's root.
struct ReadingWorker {
  std::unique_ptr<worker::text::Tokenizer> tokenizer;
  std::unique_ptr<worker::text::ChatTemplate> chat_template;
  worker::serve::ServedModel model;
  std::unique_ptr<worker::serve::RequestReader> reader;

  ReadingWorker() {
    auto loaded = worker::text::Tokenizer::Load("deploy/models/tiny-r1");
    CHECK(loaded.ok(), "runs in the repository's root");
    tokenizer = *std::move(loaded);
    auto created =
        worker::text::ChatTemplate::Create(*tokenizer, worker::text::TemplateKind::kDistill);
    CHECK(created.ok(), "the bundled model's tokenizer has the control tokens");
    chat_template = std::make_unique<worker::text::ChatTemplate>(*std::move(created));
    model.limits = {.max_num_seqs = 4,
                    .max_num_batched_tokens = 64,
                    .max_model_len = 512,
                    .block_tokens = 16,
                    .num_blocks = 64,
                    .vocab_size = tokenizer->num_ids()};
    model.end_of_sequence_ids = {tokenizer->eos_id().value()};
    reader = std::make_unique<worker::serve::RequestReader>(*tokenizer, *chat_template, model);
  }
};

}  // namespace thinkwire
