#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "worker/step/mask.h"

// What an answer must look like, as the engine asks for it: which ids may come next. Whoever knows
// formats and vocabularies implements it (serve/answer_formats.h).
namespace thinkwire::worker::engine {

// Where one answer is: a function of its format and its ids alone.
// Threads: one at a time.
class AnswerGuide {
 public:
  virtual ~AnswerGuide() = default;

  // Takes the answer's next id, one of end-of-sequence included. False, and nothing changes: it
  // may not stand there.
  virtual bool Accept(std::int32_t id) = 0;

  // Makes `mask` the ids that Accept would take: at least one, as long as no end-of-sequence was
  // taken. REQUIRES: step::NumMaskWords(vocab_size) words.
  virtual void NextMask(std::span<step::MaskWord> mask) = 0;

  // What takes most of the time that NextMask would, where that is long; then NextMask is quick.
  // Empty: it is already. For another thread, at any time: it outlives this, and what this does.
  virtual std::function<void()> MaskWork() = 0;

  // Ids that Accept would take one after another, where nothing else may stand there; often none.
  virtual std::vector<std::int32_t> ForcedRun() = 0;
};

// Where MaskWork is done. False: it was not taken, and whoever asks for the mask does it.
using PostMaskWork = std::function<bool(std::function<void()>)>;

// Threads: any.
class AnswerFormat {
 public:
  virtual ~AnswerFormat() = default;

  // Before the answer's first id.
  virtual std::unique_ptr<AnswerGuide> Begin() const = 0;
};

}  // namespace thinkwire::worker::engine
