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

const States::Row& States::RowOf(Expr state) {
  if (row_ids_.size() < expressions_.num_nodes()) row_ids_.resize(expressions_.num_nodes(), -1);
  if (row_ids_[state] >= 0) return *rows_[row_ids_[state]];
  auto row = std::make_unique<Row>();
  row->fill(kNothing);
  for (const Edge& edge : expressions_.Edges(state)) {
    if (expressions_.nesting(edge.then) > kMaxAnswerNesting) continue;
    edge.bytes.ForEach([&](std::uint8_t byte) { (*row)[byte] = edge.then; });
  }
  row_ids_[state] = static_cast<std::int32_t>(rows_.size());
  rows_.push_back(std::move(row));
  met_in_walk_.push_back(0);
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

void States::Mask(Expr state, std::span<MaskWord> mask) {
  std::fill(mask.begin(), mask.end(), MaskWord{0});
  if (const auto kept = masks_.find(state); kept != masks_.end()) {
    if (!kept->second.words.empty()) {
      std::copy(kept->second.words.begin(), kept->second.words.end(), mask.begin());
    }
    for (const std::int32_t id : kept->second.ids) SetBit(mask, id);
    return;
  }
  if (!FindMask(state, mask)) {
    std::fill(mask.begin(), mask.end(), MaskWord{0});
    ++walk_;
    work_ = 0;
    path_[0] = &RowOf(state);
    for (const TokenTree::Node& node : vocabulary_.single_bytes().nodes()) {
      if ((*path_[0])[node.byte] != kNothing) SetBit(mask, node.token);
    }
  }
  vocabulary_.AddTwins(mask);
  if (matches_empty(state)) {
    for (const std::int32_t id : vocabulary_.end_ids()) SetBit(mask, id);
  }
  Keep(state, mask);
}

// False: it would take too much work.
bool States::FindMask(Expr state, std::span<MaskWord> mask) {
  ++walk_;
  work_ = 0;
  const std::int32_t num_plain = expressions_.num_plain(state, kMaxAnswerNesting);
  if (num_plain == 0) return Walk(vocabulary_.all(), state, mask);
  // What has more characters than come for sure may still fit in another way.
  const ByteSet after = expressions_.AfterPlain(state);
  const bool any_length = num_plain > static_cast<std::int32_t>(vocabulary_.all().max_depth());
  if (!any_length && after.empty()) return Walk(vocabulary_.all(), state, mask);
  vocabulary_.SetPlain(num_plain, mask);
  const bool controls = after.empty() || !(after & Controls()).empty();
  return Walk(vocabulary_.special(), state, mask) &&
         (!controls || Walk(vocabulary_.with_controls(), state, mask));
}

bool States::Walk(const TokenTree& tree, Expr state, std::span<MaskWord> mask) {
  const std::span<const TokenTree::Node> nodes = tree.nodes();
  path_[0] = WalkRow(state);
  if (path_[0] == nullptr) return false;
  for (std::size_t i = 0; i < nodes.size();) {
    const TokenTree::Node& node = nodes[i];
    const Expr next = (*path_[node.depth])[node.byte];
    if (next == kNothing) {
      i = node.skip;
      continue;
    }
    if (node.token >= 0) SetBit(mask, node.token);
    if (node.skip > ++i) {
      path_[node.depth + 1] = WalkRow(next);
      if (path_[node.depth + 1] == nullptr) return false;
    }
  }
  return true;
}

const States::Row* States::WalkRow(Expr state) {
  const Row& row = RowOf(state);
  std::uint32_t& met = met_in_walk_[row_ids_[state]];
  if (met == walk_) return &row;
  met = walk_;
  work_ += expressions_.num_alternatives(state);
  return work_ <= kMaxMaskWork ? &row : nullptr;
}

void States::Keep(Expr state, std::span<const MaskWord> mask) {
  KeptMask& kept = masks_[state];
  std::size_t size = 0;
  for (const MaskWord word : mask) size += std::popcount(word);
  if (size > kFewIds) {
    kept.words.assign(mask.begin(), mask.end());
    return;
  }
  kept.ids.reserve(size);
  for (std::size_t i = 0; i < mask.size(); ++i) {
    for (MaskWord word = mask[i]; word != 0; word &= word - 1) {
      kept.ids.push_back(static_cast<std::int32_t>(i * 64 + std::countr_zero(word)));
    }
  }
}

bool States::is_full() const {
  return expressions_.num_nodes() > num_compiled_ + kMaxUsedNodes ||
         rows_.size() > kMaxUsedStates || masks_.size() > kMaxKeptMasks;
}

Expr States::Import(const States& other, Expr state) {
  return expressions_.Import(other.expressions_, state, num_compiled_);
}

}  // namespace thinkwire::worker::grammar
