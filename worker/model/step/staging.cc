#include "worker/model/step/staging.h"

#include "common/check.h"

namespace thinkwire::worker::model {

Staging::Staging(std::int64_t words, std::int32_t depth, kernels::Backend& backend)
    : backend_(backend) {
  CHECK(words >= 1 && depth >= 1, "something to stage, and somewhere");
  const std::size_t bytes = static_cast<std::size_t>(words) * sizeof(std::int32_t);
  device_ = backend.Allocate(bytes);
  for (std::int32_t i = 0; i < depth; ++i) {
    pieces_.push_back({backend.AllocateHost(bytes), backend.MakeFence()});
    pieces_.back().copied->Record();
  }
}

std::int32_t* Staging::Begin() {
  Piece& piece = pieces_[next_];
  piece.copied->Wait();
  return static_cast<std::int32_t*>(piece.words.data());
}

void Staging::Send(std::int64_t words) {
  Piece& piece = pieces_[next_];
  const std::size_t bytes = static_cast<std::size_t>(words) * sizeof(std::int32_t);
  CHECK(bytes <= piece.words.bytes(), "more words than were asked for");
  backend_.CopyToDevice(device_.data(), piece.words.data(), bytes);
  piece.copied->Record();
  next_ = (next_ + 1) % pieces_.size();
}

}  // namespace thinkwire::worker::model
