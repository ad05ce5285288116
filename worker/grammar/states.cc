#include "worker/grammar/states.h"

#include <algorithm>
#include <bit>
#include <string>
#include <string_view>
#include <utility>

#include "common/peer_limits.h"

namespace thinkwire::worker::grammar {
namespace {

constexpr std::size_t kFewIds = 1024;

// The one state after any of the bytes first..last, or kNothing.
Expr AfterAll(const std::array<Expr, 256>& after, std::size_t first, std::size_t last) {
  const auto begin = after.begin() + first;
  const bool same =
      std::all_of(begin, after.begin() + last + 1, [&begin](Expr then) { return then == *begin; });
  return same ? *begin : kNothing;
}

ByteSet Controls() {
  ByteSet controls(0, 0x1F);
  controls.Add(0x7F, 0x7F);
  return controls;
}

}  // namespace

States::States(const Expressions& compiled, const Vocabulary& vocabulary)
    : expressions_(compiled), num_compiled_(compiled.num_nodes()), vocabulary_(vocabulary) {
  path_.resize(vocabulary.all().max_depth() + 1);
}

std::unique_ptr<States::Row> States::MakeRow(Expr state) {
  auto row = std::make_unique<Row>();
  for (const Edge& edge : expressions_.Edges(state)) {
    if (expressions_.nesting(edge.then) > kMaxAnswerNesting) continue;
    edge.bytes.ForEach([&](std::uint8_t byte) { row->after[byte] = edge.then; });
  }
  const Expr small = AfterAll(row->after, 'a', 'z');
  const Expr capital = AfterAll(row->after, 'A', 'Z');
  row->letters[0].after = small;
  if (small == capital) row->letters[1].after = small;
  row->alternatives = expressions_.num_alternatives(state);
  return row;
}

States::Row& States::RowOf(Expr state, Mutex& owner) {
  const auto place = static_cast<std::size_t>(state);
  if (place < row_ids_.size() && row_ids_[place] >= 0) return *rows_[row_ids_[place]];
  MutexLock lock(owner);
  row_ids_.resize(std::max(row_ids_.size(), expressions_.num_nodes()), -1);
  row_ids_[place] = static_cast<std::int32_t>(rows_.size());
  rows_.push_back(MakeRow(state));
  ++num_rows_;
  return *rows_.back();
}

Expr States::After(Expr state, std::string_view bytes) {
  for (const char c : bytes) {
    if (state == kNothing) break;
    state = expressions_.After(state, static_cast<std::uint8_t>(c));
    if (expressions_.nesting(state) > kMaxAnswerNesting) return kNothing;
  }
  return state;
}

bool States::HasNext(Expr state) {
  for (const Edge& edge : expressions_.Edges(state)) {
    if (expressions_.nesting(edge.then) <= kMaxAnswerNesting) return true;
  }
  return false;
}

std::string States::ForcedBytes(Expr state, Expr* end) {
  std::string bytes;
  while (bytes.size() < kMaxForcedBytes && !matches_empty(state)) {
    ByteSet next;
    Expr then = kNothing;
    int num_next = 0;
    for (const Edge& edge : expressions_.Edges(state)) {
      if (expressions_.nesting(edge.then) > kMaxAnswerNesting) continue;
      num_next += edge.bytes.size();
      next = edge.bytes;
      then = edge.then;
    }
    if (num_next != 1) break;
    next.ForEach([&bytes](std::uint8_t byte) { bytes += static_cast<char>(byte); });
    state = then;
  }
  *end = state;
  return bytes;
}

bool States::TellMask(Expr state, std::span<MaskWord> mask) const {
  const auto kept = masks_.find(state);
  if (kept == masks_.end()) return false;
  if (!kept->second.words.empty()) {
    std::copy(kept->second.words.begin(), kept->second.words.end(), mask.begin());
    return true;
  }
  std::fill(mask.begin(), mask.end(), MaskWord{0});
  for (const std::int32_t id : kept->second.ids) SetBit(mask, id);
  return true;
}

void States::FindMask(Expr state, std::span<MaskWord> mask, Mutex& owner) {
  MutexLock walk_lock(walk_mu_);
  Round round{.state = state, .after_plain = {}, .owner = owner};
  bool ends = false;
  {
    MutexLock lock(owner);
    if (TellMask(state, mask)) return;
    round.num_plain = expressions_.num_plain(state, kMaxAnswerNesting);
    if (round.num_plain > 0) round.after_plain = expressions_.AfterPlain(state);
    ends = matches_empty(state);
  }
  std::fill(mask.begin(), mask.end(), MaskWord{0});
  ++walk_;
  if (!WalkAll(round, mask)) SetSingleBytes(round, mask);
  vocabulary_.AddTwins(mask);
  if (ends) {
    for (const std::int32_t id : vocabulary_.end_ids()) SetBit(mask, id);
  }
  KeptMask kept = Kept(mask);
  MutexLock lock(owner);
  masks_[state] = std::move(kept);
}

// False: it would take too much work.
bool States::WalkAll(Round& round, std::span<MaskWord> mask) {
  if (round.num_plain == 0) return Walk(vocabulary_.all(), round, mask);
  // What has more characters than come for sure may still fit in another way.
  const ByteSet& after = round.after_plain;
  const bool any_length =
      round.num_plain > static_cast<std::int32_t>(vocabulary_.all().max_depth());
  if (!any_length && after.empty()) return Walk(vocabulary_.all(), round, mask);
  vocabulary_.SetPlain(round.num_plain, mask);
  const bool controls = after.empty() || !(after & Controls()).empty();
  return Walk(vocabulary_.special(), round, mask) &&
         (!controls || Walk(vocabulary_.with_controls(), round, mask));
}

bool States::Walk(const TokenTree& tree, Round& round, std::span<MaskWord> mask) {
  const std::span<const TokenTree::Node> nodes = tree.nodes();
  path_[0] = WalkRow(round.state, round);
  if (path_[0] == nullptr) return false;
  for (std::size_t i = 0; i < nodes.size();) {
    const TokenTree::Node& node = nodes[i];
    const Expr next = path_[node.depth]->after[node.byte];
    if (next == kNothing) {
      i = node.skip;
      continue;
    }
    if (node.token >= 0) SetBit(mask, node.token);
    if (node.skip == ++i) continue;
    Row* const row = WalkRow(next, round);
    if (row == nullptr) return false;
    path_[node.depth + 1] = row;
    if (node.letters == 0) continue;
    const std::int32_t run = RunOf(*row, node.capitals != 0, round);
    if (run < 0) return false;
    if (node.letters > run) continue;
    for (const std::int32_t id : tree.TokensOf(i, node.skip)) SetBit(mask, id);
    i = node.skip;
  }
  return true;
}

void States::SetSingleBytes(Round& round, std::span<MaskWord> mask) {
  std::fill(mask.begin(), mask.end(), MaskWord{0});
  const Row& row = RowOf(round.state, round.owner);
  for (const TokenTree::Node& node : vocabulary_.single_bytes().nodes()) {
    if (row.after[node.byte] != kNothing) SetBit(mask, node.token);
  }
}

States::Row* States::WalkRow(Expr state, Round& round) {
  Row& row = RowOf(state, round.owner);
  if (row.met == walk_) return &row;
  row.met = walk_;
  round.work += row.alternatives;
  return round.work <= kMaxMaskWork ? &row : nullptr;
}

// Of this walk alone, so that what it costs does not depend on what was asked before.
std::int32_t States::RunOf(Row& row, bool capitals, Round& round) {
  Letters& letters = row.letters[capitals ? 1 : 0];
  if (letters.run_of == walk_) return letters.run;
  std::int32_t run = 0;
  for (Expr next = letters.after; run < TokenTree::kMaxLetters && next != kNothing; ++run) {
    const Row* const at = WalkRow(next, round);
    if (at == nullptr) return -1;
    next = at->letters[capitals ? 1 : 0].after;
  }
  letters.run_of = walk_;
  letters.run = run;
  return run;
}

States::KeptMask States::Kept(std::span<const MaskWord> mask) {
  KeptMask kept;
  std::size_t size = 0;
  for (const MaskWord word : mask) size += std::popcount(word);
  if (size > kFewIds) {
    kept.words.assign(mask.begin(), mask.end());
    return kept;
  }
  kept.ids.reserve(size);
  for (std::size_t i = 0; i < mask.size(); ++i) {
    for (MaskWord word = mask[i]; word != 0; word &= word - 1) {
      kept.ids.push_back(static_cast<std::int32_t>(i * 64 + std::countr_zero(word)));
    }
  }
  return kept;
}

bool States::is_full() const {
  return expressions_.num_nodes() > num_compiled_ + kMaxUsedNodes || num_rows_ > kMaxUsedStates ||
         masks_.size() > kMaxKeptMasks;
}

Expr States::Import(const States& other, Expr state) {
  return expressions_.Import(other.expressions_, state, num_compiled_);
}

}  // namespace thinkwire::worker::grammar
