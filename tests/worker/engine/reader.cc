#include "tests/worker/engine/reader.h"

#include "common/check.h"

namespace thinkwire::worker::engine {

Reader::Reader(std::size_t capacity)
    : stream_(std::make_shared<TokenStream>(capacity, [signal = signal_] {
        MutexLock lock(signal->mu);
        signal->ready = true;
        signal->changed.NotifyAll();
      })) {}

void Reader::Take(std::size_t max_tokens) {
  const TokenStream::Batch batch = stream_->Take(max_tokens);
  CHECK(!ending_ || batch.empty(), "nothing follows the ending");
  if (batch.queue_position) queue_positions_.push_back(*batch.queue_position);
  if (batch.started) {
    CHECK(!started_, "a sequence starts once");
    started_ = true;
    cached_prompt_tokens_ = batch.cached_prompt_tokens;
  }
  tokens_.insert(tokens_.end(), batch.tokens.begin(), batch.tokens.end());
  ending_ = batch.ending ? batch.ending : ending_;
}

void Reader::WaitReady() {
  MutexLock lock(signal_->mu);
  while (!signal_->ready) signal_->changed.Wait(signal_->mu);
  signal_->ready = false;
}

void Reader::WaitTokens(std::size_t count) {
  for (Take(); tokens_.size() < count && !ending_; Take()) WaitReady();
}

void Reader::WaitStarted() {
  for (Take(); !started_ && !ending_; Take()) WaitReady();
}

void Reader::WaitEnding() {
  for (Take(); !ending_; Take()) WaitReady();
}

}  // namespace thinkwire::worker::engine
