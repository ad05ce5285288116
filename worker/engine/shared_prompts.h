#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "worker/engine/sequence.h"

namespace thinkwire::worker::engine {

// Which outputs of one prompt wait while one of them computes it, so that it is computed once.
//
// Of those that come together (Request::prompt_of) the first goes into the queue like anybody. The
// others are held back until it has all blocks that they can begin with: the prompt's whole ones,
// but for the one of its last token, which each computes for its own logits. Then they get in line
// too, and take those blocks by reference (Admission); the rest, of less than a block and a token,
// each computes for itself. If the first one ends before that, or is parked, as its reader is
// behind, the next takes its place. Nobody is held back for a prompt without such a block.
//
// This orders when they start and nothing else: no text depends on it, and whoever is preempted
// later finds what the prefix cache still has, or computes it again.
// Owns: who is held back. Threads: the engine thread. Bounded by the sequences.
class SharedPrompts {
 public:
  explicit SharedPrompts(std::int32_t block_tokens) : block_tokens_(block_tokens) {}

  // How many blocks of `sequence` are for the outputs that came with it; 0: it came alone.
  std::int32_t BlocksOf(const Sequence& sequence) const;

  // `sequence` has come. Whether it is held back, and must not get in line.
  bool Enter(Sequence& sequence);

  // `sequence` has become longer, or got its blocks. Those that are held back no more, as these are
  // theirs too, in the order in which they came: they get in line.
  std::vector<Sequence*> TakeReady(const Sequence& sequence);

  // `sequence` will not compute the prompt, or not soon. Who does in its place, and gets in line;
  // null: nobody need.
  Sequence* PassOn(const Sequence& sequence);

  // Holds `sequence` back no more. False: it did not.
  bool Release(const Sequence& sequence);

  // `sequence` is gone; held back it was no more. Whether it was the last of those that came with
  // it, so that nobody else will begin with its prompt.
  bool Leave(const Sequence& sequence);

  std::int32_t num_held() const { return num_held_; }

 private:
  struct Group {
    std::int32_t members = 0;            // that are not gone
    const Sequence* computes = nullptr;  // the prompt; null: it was computed, or nobody will
    std::vector<Sequence*> held{};       // until then, in the order in which they came
  };

  const std::int32_t block_tokens_;
  std::unordered_map<RequestHandle, Group> groups_;  // by Request::prompt_of
  std::int32_t num_held_ = 0;
};

}  // namespace thinkwire::worker::engine
