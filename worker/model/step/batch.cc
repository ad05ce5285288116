#include "worker/model/step/batch.h"

#include <algorithm>
#include <cstring>

#include "common/check.h"

namespace thinkwire::worker::model {
namespace {

using kernels::Tensor;

constexpr std::size_t kWord = sizeof(std::int32_t);
constexpr std::int64_t kAlignWords = 4;  // arrays start at multiples of 16 bytes
constexpr std::int64_t kSamplingWords = sizeof(step::SamplingParams) / kWord;
constexpr std::int64_t kBeginWords = sizeof(kernels::CountsBegin) / kWord;
constexpr std::size_t kBiasBytes = sizeof(step::LogitBias);
constexpr std::int64_t kBiasWords = kBiasBytes / kWord;
constexpr std::int64_t kMaskWords = sizeof(step::MaskWord) / kWord;
static_assert(sizeof(step::SamplingParams) % kWord == 0, "a slot's parameters travel as words");

std::int64_t Aligned(std::int64_t words) {
  return (words + kAlignWords - 1) / kAlignWords * kAlignWords;
}

std::int64_t PhaseWords(std::int64_t logits) {
  return (logits + static_cast<std::int64_t>(kWord) - 1) / static_cast<std::int64_t>(kWord);
}

DrawKind KindOf(const step::Row& row) {
  if (row.adjusted || row.mask != step::kNoMask) return DrawKind::kAdjusted;
  return row.alternatives > 0 ? DrawKind::kReported : DrawKind::kPlain;
}

Tensor Words(void* data, std::int64_t size) {
  return kernels::MakeTensor(data, kernels::DType::kI32, size);
}

}  // namespace

Batch::Batch(const step::Limits& limits, kernels::Backend& backend)
    : backend_(backend),
      limits_(limits),
      max_blocks_((limits.max_model_len + limits.block_tokens - 1) / limits.block_tokens),
      staging_(WordsAtMost(), limits.max_in_flight + 1, backend),
      think_end_ids_(static_cast<std::size_t>(limits.max_num_seqs), -1) {
  CHECK(limits.most_draws() >= limits.max_num_seqs &&
            limits.most_draws() <= limits.max_num_batched_tokens,
        "each sequence may draw, and no more than there are tokens");
  const auto slots = static_cast<std::size_t>(limits.max_num_seqs);
  block_tables_ = backend.Allocate(slots * static_cast<std::size_t>(max_blocks_) * kWord);
  slot_sampling_ = backend.Allocate(slots * sizeof(step::SamplingParams));
  biases_ =
      backend.Allocate(slots * step::kNumPhases * step::kMaxLogitBiases * sizeof(step::LogitBias));
  counts_ = backend.Allocate(slots * static_cast<std::size_t>(limits.vocab_size) * kWord);
  ids_ = backend.Allocate(
      static_cast<std::size_t>(limits.max_num_batched_tokens + limits.most_draws()) * kWord);
}

std::int64_t Batch::WordsAtMost() const {
  const std::int64_t t = limits_.max_num_batched_tokens;
  const std::int64_t s = limits_.max_num_seqs;
  const std::int64_t l = limits_.most_draws();
  const std::int64_t step = 4 * t + 2 * l + (2 * s + 1) + 3 * l + PhaseWords(l) + 2 * l;
  // Slots may share blocks, so that a plan may fill every table however few blocks there are.
  const std::int64_t changes = 2 * s * max_blocks_ + 2 * s * kSamplingWords;
  const std::int64_t adjusting =
      limits_.max_model_len + s * kBeginWords + kBiasWords * std::int64_t{step::kMaxPlanBiases};
  const std::int64_t masks =
      s * kMaskWords * static_cast<std::int64_t>(step::NumMaskWords(limits_.vocab_size));
  return step + changes + adjusting + masks + (kNumFields + 8) * kAlignWords;
}

Tensor Batch::ids() const { return Words(ids_.data(), num_tokens()); }

Tensor Batch::logit_tokens() const { return Words(Device(kLogitToken), num_logits_); }

void Batch::Load(const step::Plan& plan, std::int32_t bucket) {
  const Shape used = CheckedShape(plan);
  CHECK(bucket == 0 || (used.tokens == used.logits && used.tokens <= bucket),
        "a step that is padded decodes alone, and fits");
  Begin(bucket == 0 ? used : Shape{bucket, bucket, bucket, used.kind});
  const Changes blocks = AddBlockChanges(plan.block_table_changes);
  const Changes sampling = AddSamplingChanges(plan.sampling_changes);
  Shape filled;
  for (const step::Row& row : plan.rows) {
    AddRow(row, plan.input_ids, filled);
    AddDraws(row, filled);
  }
  Pad(filled);
  const Counting counting = AddCounting(plan);
  const std::int64_t biases = AddBiases(plan);
  masks_ = AddMasks(plan);
  staging_.Send(words_);
  Apply(blocks, block_tables_);
  Apply(sampling, slot_sampling_);
  Apply(counting);
  ApplyBiases(plan.sampling_changes, biases);
}

void Batch::LoadPadding(std::int32_t tokens, std::int32_t seqs, std::int32_t draws) {
  CHECK(seqs >= 1 && seqs <= limits_.max_num_seqs && draws <= limits_.most_draws() &&
            tokens >= std::max(seqs, draws) && tokens <= limits_.max_num_batched_tokens,
        "padding within the limits");
  Begin({tokens, seqs, draws});
  Pad({});
  staging_.Send(words_);
}

void Batch::GatherIds(const Tensor& last_drawn) {
  const std::int64_t size = num_tokens() + num_logits_;
  backend_.GatherInputIds(Words(Device(kGivenIds), size), Words(Device(kSourceSlot), size),
                          last_drawn, Words(ids_.data(), size));
}

Batch::Shape Batch::CheckedShape(const step::Plan& plan) const {
  CHECK(!plan.rows.empty() && plan.rows.size() <= static_cast<std::size_t>(limits_.max_num_seqs),
        "a plan without rows, or one that passes max_num_seqs");
  Shape shape;
  for (const step::Row& row : plan.rows) {
    CheckRow(row, plan);
    CHECK(row.count <= limits_.max_num_batched_tokens - shape.tokens,
          "a plan passes max_num_batched_tokens");
    shape.tokens += row.count;
    ++shape.seqs;
    shape.logits += row.draws;
    shape.kind = std::max(shape.kind, KindOf(row));
  }
  CHECK(shape.logits <= limits_.most_draws(), "a plan passes max_draws");
  return shape;
}

void Batch::CheckRow(const step::Row& row, const step::Plan& plan) const {
  const bool from_device = row.first_id == step::kLastDrawn;
  CHECK(row.slot >= 0 && row.slot < limits_.max_num_seqs, "a row's slot is out of range");
  CHECK(row.count >= 1 && (!from_device || row.count == 1), "a row's count is out of range");
  CHECK(row.first_position >= 0 && row.count <= limits_.max_model_len - row.first_position,
        "a row passes max_model_len");
  CHECK(from_device || (row.first_id >= 0 && static_cast<std::size_t>(row.first_id) +
                                                     static_cast<std::size_t>(row.count) <=
                                                 plan.input_ids.size()),
        "a row's ids are not in the plan");
  CHECK(row.draws >= 0 && row.draws <= row.count, "a row draws after inputs that it has");
  CHECK(row.draws <= 1 || !row.adjusted, "a row that draws several tokens is not adjusted");
  const std::size_t num_masks = plan.masks.size() / step::NumMaskWords(limits_.vocab_size);
  CHECK(row.mask == step::kNoMask ||
            (row.draws == 1 && row.mask >= 0 && static_cast<std::size_t>(row.mask) < num_masks),
        "a row's mask is not in the plan, or for no draw");
  CHECK(row.alternatives >= 0 &&
            row.alternatives <=
                (row.draws > 0 ? std::min(step::kMaxAlternatives, limits_.vocab_size) : 0),
        "a row's alternatives are out of range");
}

void Batch::Begin(const Shape& shape) {
  host_ = staging_.Begin();
  words_ = 0;
  const std::int64_t gathered = std::int64_t{shape.tokens} + shape.logits;
  offsets_[kPositions] = Append(shape.tokens);
  offsets_[kTokenSeq] = Append(shape.tokens);
  offsets_[kGivenIds] = Append(gathered);
  offsets_[kSourceSlot] = Append(gathered);
  offsets_[kQueryStart] = Append(shape.seqs + 1);
  offsets_[kSeqSlot] = Append(shape.seqs);
  offsets_[kLogitToken] = Append(shape.logits);
  offsets_[kLogitSlot] = Append(shape.logits);
  offsets_[kLogitPosition] = Append(shape.logits);
  offsets_[kLogitPhase] = Append(PhaseWords(shape.logits));
  offsets_[kLogitAlternatives] = shape.kind == DrawKind::kPlain ? 0 : Append(shape.logits);
  offsets_[kLogitMask] = shape.kind == DrawKind::kAdjusted ? Append(shape.logits) : 0;
  kind_ = shape.kind;
  num_logits_ = shape.logits;
  view_.num_tokens = shape.tokens;
  view_.num_seqs = shape.seqs;
  view_.max_blocks = max_blocks_;
  view_.positions = Device(kPositions);
  view_.token_seq = Device(kTokenSeq);
  view_.query_start = Device(kQueryStart);
  view_.seq_slot = Device(kSeqSlot);
  view_.block_tables = static_cast<const std::int32_t*>(block_tables_.data());
}

std::int64_t Batch::Append(std::int64_t words) {
  const std::int64_t offset = words_;
  words_ += Aligned(words);
  return offset;
}

void Batch::AddRow(const step::Row& row, std::span<const std::int32_t> input_ids, Shape& filled) {
  const bool from_device = row.first_id == step::kLastDrawn;
  const std::int32_t source_slot = from_device ? row.slot : -1;
  const std::int32_t seq = filled.seqs++;
  Host(kQueryStart)[seq] = filled.tokens;
  Host(kSeqSlot)[seq] = row.slot;
  std::int32_t id = 0;
  for (std::int32_t i = 0; i < row.count; ++i) {
    const std::int32_t token = filled.tokens++;
    if (!from_device) id = input_ids[static_cast<std::size_t>(row.first_id + i)];
    CHECK(id >= 0 && id < limits_.vocab_size, "an input id is out of range");
    Host(kPositions)[token] = row.first_position + i;
    Host(kTokenSeq)[token] = seq;
    Host(kGivenIds)[token] = id;
    Host(kSourceSlot)[token] = source_slot;
  }
}

void Batch::AddDraws(const step::Row& row, Shape& filled) {
  step::Phase phase = row.phase;
  for (std::int32_t token = filled.tokens - row.draws; token < filled.tokens; ++token) {
    const std::int32_t l = filled.logits++;
    const std::int32_t id = Host(kGivenIds)[token];
    Host(kLogitToken)[l] = token;
    Host(kLogitSlot)[l] = row.slot;
    Host(kLogitPosition)[l] = Host(kPositions)[token] + 1;
    Host(kGivenIds)[view_.num_tokens + l] = id;
    Host(kSourceSlot)[view_.num_tokens + l] = Host(kSourceSlot)[token];
    reinterpret_cast<step::Phase*>(Host(kLogitPhase))[l] = phase;
    if (kind_ != DrawKind::kPlain) Host(kLogitAlternatives)[l] = row.alternatives;
    if (kind_ == DrawKind::kAdjusted) Host(kLogitMask)[l] = row.mask;
    // The device looks at the draw's own input; later draws follow the end of the reasoning too.
    if (id == think_end_ids_[static_cast<std::size_t>(row.slot)]) phase = step::Phase::kAnswer;
  }
}

void Batch::Pad(const Shape& filled) {
  const std::int32_t tokens = view_.num_tokens;
  const std::int32_t seqs = view_.num_seqs;
  const auto logits = static_cast<std::int32_t>(num_logits_);
  const auto fill = [this](FieldId field, std::int32_t from, std::int32_t to, std::int32_t value) {
    std::fill(Host(field) + from, Host(field) + to, value);
  };
  fill(kPositions, filled.tokens, tokens, 0);
  fill(kTokenSeq, filled.tokens, tokens, -1);
  fill(kQueryStart, filled.seqs, seqs + 1, filled.tokens);
  fill(kSeqSlot, filled.seqs, seqs, 0);
  fill(kLogitToken, filled.logits, logits, 0);
  fill(kLogitSlot, filled.logits, logits, -1);
  fill(kLogitPosition, filled.logits, logits, 0);
  fill(kGivenIds, filled.tokens, tokens, 0);
  fill(kGivenIds, tokens + filled.logits, tokens + logits, 0);
  fill(kSourceSlot, filled.tokens, tokens, -1);
  fill(kSourceSlot, tokens + filled.logits, tokens + logits, -1);
  auto* const phases = reinterpret_cast<std::uint8_t*>(Host(kLogitPhase));
  std::fill(phases + filled.logits, phases + logits, std::uint8_t{0});
  if (kind_ != DrawKind::kPlain) fill(kLogitAlternatives, filled.logits, logits, 0);
  if (kind_ == DrawKind::kAdjusted) fill(kLogitMask, filled.logits, logits, step::kNoMask);
}

Batch::Changes Batch::AddBlockChanges(std::span<const step::BlockTableChange> changes) {
  const auto size = static_cast<std::int64_t>(changes.size());
  CHECK(size <= std::int64_t{limits_.max_num_seqs} * max_blocks_,
        "a plan changes a position of a block table twice");
  const Changes places = {Append(size), Append(size), size};
  for (std::int64_t i = 0; i < size; ++i) {
    const step::BlockTableChange& change = changes[static_cast<std::size_t>(i)];
    CHECK(change.slot >= 0 && change.slot < limits_.max_num_seqs && change.index >= 0 &&
              change.index < max_blocks_ && change.block >= 0 && change.block < limits_.num_blocks,
          "a block table change is out of range");
    host_[places.index + i] = change.slot * max_blocks_ + change.index;
    host_[places.values + i] = change.block;
  }
  return places;
}

Batch::Changes Batch::AddSamplingChanges(std::span<const step::SamplingChange> changes) {
  CHECK(changes.size() <= static_cast<std::size_t>(limits_.max_num_seqs),
        "a plan changes a slot's sampling twice");
  const std::int64_t size = static_cast<std::int64_t>(changes.size()) * kSamplingWords;
  const Changes places = {Append(size), Append(size), size};
  std::int32_t* index = host_ + places.index;
  std::int32_t* values = host_ + places.values;
  for (const step::SamplingChange& change : changes) {
    CHECK(change.slot >= 0 && change.slot < limits_.max_num_seqs,
          "a sampling change's slot is out of range");
    think_end_ids_[static_cast<std::size_t>(change.slot)] = change.params.think_end_id;
    std::memcpy(values, &change.params, sizeof(change.params));
    values += kSamplingWords;
    for (std::int64_t word = 0; word < kSamplingWords; ++word) {
      *index++ = static_cast<std::int32_t>(change.slot * kSamplingWords + word);
    }
  }
  return places;
}

void Batch::Apply(const Changes& changes, const kernels::Buffer& to) {
  if (changes.size == 0) return;
  std::int32_t* const words = staging_.device();
  backend_.Scatter(Words(words + changes.index, changes.size),
                   Words(words + changes.values, changes.size),
                   Words(to.data(), static_cast<std::int64_t>(to.bytes() / kWord)));
}

kernels::DrawView Batch::draw_view() const {
  kernels::DrawView view;
  view.num_rows = static_cast<std::int32_t>(num_logits_);
  view.slots = Device(kLogitSlot);
  view.positions = Device(kLogitPosition);
  view.input_ids = static_cast<const std::int32_t*>(ids_.data()) + num_tokens();
  view.phases = reinterpret_cast<const step::Phase*>(Device(kLogitPhase));
  view.slot_sampling = static_cast<const step::SamplingParams*>(slot_sampling_.data());
  return view;
}

Batch::Counting Batch::AddCounting(const step::Plan& plan) {
  CHECK(plan.counted_ids.size() <= static_cast<std::size_t>(limits_.max_model_len),
        "a plan counts more ids than a sequence has");
  if (plan.sampling_changes.empty()) return {};
  const auto size = static_cast<std::int64_t>(plan.counted_ids.size());
  const Counting places = {
      Append(static_cast<std::int64_t>(plan.sampling_changes.size()) * kBeginWords), Append(size)};
  std::int32_t num_begins = 0;
  for (const step::SamplingChange& change : plan.sampling_changes) {
    if (!change.params.counts()) continue;
    CHECK(change.first_counted >= 0 && change.num_prompt >= 0 && change.num_drawn >= 0 &&
              change.first_counted <= size - change.num_prompt - change.num_drawn,
          "counted ids are not in the plan");
    const kernels::CountsBegin begin = {change.slot, change.first_counted, change.num_prompt,
                                        change.num_drawn, change.phase};
    std::memcpy(host_ + places.begins + num_begins++ * kBeginWords, &begin, sizeof(begin));
  }
  for (const std::int32_t id : plan.counted_ids) {
    CHECK(id >= 0 && id < limits_.vocab_size, "a counted id is out of range");
  }
  std::ranges::copy(plan.counted_ids, host_ + places.ids);
  return {places.begins, places.ids, num_begins};
}

std::int64_t Batch::AddBiases(const step::Plan& plan) {
  CHECK(plan.biases.size() <= step::kMaxPlanBiases, "a plan changes too many logit biases");
  for (const step::LogitBias& bias : plan.biases) {
    CHECK(bias.id >= 0 && bias.id < limits_.vocab_size, "a logit bias's id is out of range");
  }
  const auto size = static_cast<std::int64_t>(plan.biases.size());
  for (const step::SamplingChange& change : plan.sampling_changes) {
    for (const step::PhaseSampling& phase : change.params.phases) {
      CHECK(phase.num_biases >= 0 && phase.num_biases <= step::kMaxLogitBiases,
            "too many logit biases");
    }
    CHECK(change.first_bias >= 0 && change.first_bias <= size - change.params.num_biases(),
          "logit biases are not in the plan");
  }
  const std::int64_t place = Append(size * kBiasWords);
  if (size > 0) std::memcpy(host_ + place, plan.biases.data(), plan.biases.size() * kBiasBytes);
  return place;
}

std::int64_t Batch::AddMasks(const step::Plan& plan) {
  const std::size_t words = step::NumMaskWords(limits_.vocab_size);
  CHECK(plan.masks.size() % words == 0 && plan.masks.size() / words <= plan.rows.size(),
        "masks are whole, and at most one a row");
  const std::int64_t place = Append(static_cast<std::int64_t>(plan.masks.size()) * kMaskWords);
  std::ranges::copy(plan.masks, reinterpret_cast<step::MaskWord*>(host_ + place));
  return place;
}

void Batch::Apply(const Counting& counting) {
  if (counting.num_begins == 0) return;
  const std::int32_t* const words = staging_.device();
  backend_.BeginCounts(reinterpret_cast<const kernels::CountsBegin*>(words + counting.begins),
                       counting.num_begins, words + counting.ids, counts());
}

void Batch::ApplyBiases(std::span<const step::SamplingChange> changes, std::int64_t from) {
  auto* const lists = static_cast<step::LogitBias*>(biases_.data());
  for (const step::SamplingChange& change : changes) {
    const std::int32_t* words = staging_.device() + from + change.first_bias * kBiasWords;
    std::int64_t list = std::int64_t{change.slot} * step::kNumPhases;
    for (const step::PhaseSampling& phase : change.params.phases) {
      const auto size = static_cast<std::size_t>(phase.num_biases);
      if (size > 0) {
        backend_.CopyOnDevice(lists + list * step::kMaxLogitBiases, words, size * kBiasBytes);
      }
      words += phase.num_biases * kBiasWords;
      ++list;
    }
  }
}

Tensor Batch::counts() const {
  return kernels::MakeTensor(counts_.data(), kernels::DType::kI32, limits_.max_num_seqs,
                             limits_.vocab_size);
}

kernels::AdjustView Batch::adjust_view() const {
  return {.biases = static_cast<const step::LogitBias*>(biases_.data()),
          .counts = counts(),
          .row_masks = kind_ == DrawKind::kAdjusted ? Device(kLogitMask) : nullptr,
          .masks = reinterpret_cast<const step::MaskWord*>(staging_.device() + masks_)};
}

kernels::LogprobsView Batch::logprobs_view() const {
  CHECK(kind_ != DrawKind::kPlain, "a plain step asks for no more than its draws");
  kernels::LogprobsView view;
  view.num_rows = static_cast<std::int32_t>(num_logits_);
  view.slots = Device(kLogitSlot);
  view.num_alternatives = Device(kLogitAlternatives);
  return view;
}

}  // namespace thinkwire::worker::model
