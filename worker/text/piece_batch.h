#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string_view>

#include "absl/functional/function_ref.h"

namespace thinkwire::worker::text {

// Takes pieces of `text`, in order: each begins where the one before it ends. Called for some
// pieces at a time until there are no more.
using PieceSink =
    absl::FunctionRef<void(std::span<const std::string_view> pieces, std::string_view text)>;

// Collects the pieces of a text, so that whoever uses them is called for many at once.
class PieceBatch {
 public:
  static constexpr std::size_t kMaxPieces = 192;

  PieceBatch(std::string_view text, PieceSink sink) : text_(text), sink_(sink) {}
  ~PieceBatch() { Flush(); }
  PieceBatch(const PieceBatch&) = delete;
  PieceBatch& operator=(const PieceBatch&) = delete;

  // Makes room. REQUIRES: num_pieces <= kMaxPieces.
  void Reserve(std::size_t num_pieces) {
    if (size_ + num_pieces > kMaxPieces) Flush();
  }

  // REQUIRES: there is room.
  void Add(const char* begin, std::size_t size) { pieces_[size_++] = {begin, size}; }

 private:
  void Flush() {
    if (size_ > 0) sink_(std::span(pieces_).first(size_), text_);
    size_ = 0;
  }

  const std::string_view text_;
  const PieceSink sink_;
  std::size_t size_ = 0;
  std::array<std::string_view, kMaxPieces> pieces_;
};

}  // namespace thinkwire::worker::text
