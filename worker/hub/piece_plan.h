#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "common/mutex.h"

namespace thinkwire::worker::hub {

// A range of a file that one connection brings: bytes [first, end).
struct Piece {
  std::int64_t first = 0;
  std::int64_t end = 0;
  bool direct = false;  // straight onto the prefix, which is the taker's until it calls Done
};

// Who brings what of a file, of which its beginning, the prefix, is there and grows in order.
// A piece that is the prefix's next when it is taken may go straight onto it; others wait in files
// of their own until the prefix has come to them. Invariant: the prefix has one writer at a time,
// who holds it from a Take with `direct`, or from a Done that returned true, to NextWaiting's
// nullopt.
// Threads: any.
class PiecePlan {
 public:
  // Of a file of `bytes`, of which `there` are the prefix already. Pieces begin at multiples of
  // `piece_bytes`, so that a later attempt finds their files again, but for the first.
  PiecePlan(std::int64_t bytes, std::int64_t there, std::int64_t piece_bytes);

  // The next piece that nobody has taken; nullopt: none is left, or Fail was called.
  std::optional<Piece> Take();

  // The piece has come whole. True: the caller is the prefix's writer now, or still.
  bool Done(const Piece& piece);

  // A direct piece has come whole. The next one, if nobody has taken it: the caller, who still is
  // the writer, has it now, and `piece` is done. nullopt: it is to be told by Done.
  std::optional<Piece> GoOn(const Piece& piece);

  // Of the prefix's writer: the piece that it has to put onto the prefix now. nullopt: the next one
  // has not come yet, and the caller is the writer no more.
  std::optional<Piece> NextWaiting();

  // Nobody gets anything more. The first error stays.
  void Fail(const absl::Status& status);
  absl::Status status() const;

 private:
  enum class State { kOpen, kTaken, kCame };
  struct Entry {
    Piece piece;
    State state = State::kOpen;
  };

  mutable Mutex mu_;
  std::vector<Entry> entries_ ABSL_GUARDED_BY(mu_);  // in order
  std::size_t next_ ABSL_GUARDED_BY(mu_) = 0;        // the prefix's next piece
  std::size_t open_ ABSL_GUARDED_BY(mu_) = 0;        // before it none is open
  bool has_writer_ ABSL_GUARDED_BY(mu_) = false;     // of the prefix
  absl::Status status_ ABSL_GUARDED_BY(mu_);
};

}  // namespace thinkwire::worker::hub
