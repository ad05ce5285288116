#include "tests/worker/kernels/paged_layer.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <numeric>
#include <random>
#include <utility>

#include "worker/kernels/e4m3.h"

namespace thinkwire::worker::kernels {
namespace {

constexpr int kMaxPositions = 1200;

int RowsOfProjection(const AttentionShape& shape) {
  return (shape.heads + 2 * shape.kv_heads) * shape.head_dim;
}

int BlocksOf(int length, int block_tokens) { return (length + block_tokens - 1) / block_tokens; }

int SumOfBlocks(const std::vector<int>& lengths, int block_tokens) {
  int blocks = 0;
  for (const int length : lengths) blocks += BlocksOf(length, block_tokens);
  return blocks;
}

std::vector<std::int32_t> Joined(std::initializer_list<const std::vector<std::int32_t>*> arrays) {
  std::vector<std::int32_t> words;
  for (const auto* array : arrays) words.insert(words.end(), array->begin(), array->end());
  return words;
}

std::int64_t BlockElements(const AttentionShape& shape) {
  return std::int64_t{shape.kv_heads} * shape.block_tokens * shape.head_dim;
}

}  // namespace

std::vector<float> RopeTable(int positions, int dim) {
  std::vector<float> rope;
  for (int p = 0; p < positions; ++p) {
    for (int part = 0; part < 2; ++part) {
      for (int i = 0; i < dim / 2; ++i) {
        const double angle = p * std::pow(10000.0, -2.0 * i / dim);
        rope.push_back(static_cast<float>(part == 0 ? std::cos(angle) : std::sin(angle)));
      }
    }
  }
  return rope;
}

DeviceBatch::DeviceBatch(Backend& backend, const std::vector<std::int32_t>& positions,
                         const std::vector<std::int32_t>& token_seq,
                         const std::vector<std::int32_t>& query_start,
                         const std::vector<std::int32_t>& seq_slot,
                         const std::vector<std::int32_t>& block_tables, std::int32_t max_blocks)
    : words_(backend, Joined({&positions, &token_seq, &query_start, &seq_slot, &block_tables})) {
  const std::int32_t* at = words_.data();
  const auto next = [&at](const std::vector<std::int32_t>& array) {
    return std::exchange(at, at + array.size());
  };
  view_.num_tokens = static_cast<std::int32_t>(positions.size());
  view_.num_seqs = static_cast<std::int32_t>(seq_slot.size());
  view_.max_blocks = max_blocks;
  view_.positions = next(positions);
  view_.token_seq = next(token_seq);
  view_.query_start = next(query_start);
  view_.seq_slot = next(seq_slot);
  view_.block_tables = next(block_tables);
}

PagedLayer::Projection PagedLayer::Projected(const AttentionShape& shape) {
  const int rows = RowsOfProjection(shape);
  Projection projection = {.hidden = 48, .weights = {}, .columns = {}, .bias = {}, .rope = {}};
  projection.weights = RandomBf16Floats(std::int64_t{rows} * projection.hidden, 11, 0.3F);
  projection.bias = RandomFloats(rows, 12);
  projection.rope = RopeTable(kMaxPositions, shape.head_dim);
  return projection;
}

// Queries are eight times as large as keys, so that weights differ much.
PagedLayer::Projection PagedLayer::Selected(const AttentionShape& shape) {
  const int rows = RowsOfProjection(shape);
  Projection projection = {.hidden = 256, .weights = {}, .columns = {}, .bias = {}, .rope = {}};
  projection.weights.assign(static_cast<std::size_t>(rows * projection.hidden), 0.0F);
  std::mt19937 random(13);
  for (int row = 0; row < rows; ++row) {
    const auto column = static_cast<int>(random() % static_cast<unsigned>(projection.hidden));
    projection.columns.push_back(column);
    const float scale = row < shape.heads * shape.head_dim ? 8.0F : 1.0F;
    projection.weights[static_cast<std::size_t>(row * projection.hidden + column)] =
        random() % 2 == 0 ? scale : -scale;
  }
  for (int p = 0; p < kMaxPositions; ++p) {
    projection.rope.insert(projection.rope.end(), static_cast<std::size_t>(shape.head_dim / 2),
                           1.0F);
    projection.rope.insert(projection.rope.end(), static_cast<std::size_t>(shape.head_dim / 2),
                           0.0F);
  }
  return projection;
}

PagedLayer::PagedLayer(Backend& backend, const AttentionShape& shape, std::vector<int> lengths)
    : backend_(backend),
      shape_(shape),
      lengths_(std::move(lengths)),
      projection_(is_selected() ? Selected(shape) : Projected(shape)),
      written_(lengths_.size()),
      inputs_(lengths_.size()),
      max_blocks_(BlocksOf(*std::ranges::max_element(lengths_), shape.block_tokens)),
      rope_(backend, DType::kF32, {kMaxPositions, shape.head_dim}, projection_.rope),
      kept_(shape.fp8 ? DType::kE4m3 : backend.capabilities().activation),
      keys_(backend, kept_, {SumOfBlocks(lengths_, shape.block_tokens), BlockElements(shape)}),
      values_(backend, kept_, {SumOfBlocks(lengths_, shape.block_tokens), BlockElements(shape)}) {
  const int rows = RowsOfProjection(shape);
  const WeightSlice part = SliceOf(projection_.weights, rows, projection_.hidden);
  std::vector<WeightSlice> bias;
  if (!projection_.bias.empty()) bias.push_back(SliceOf(projection_.bias, rows, 1));
  qkv_ = backend.MakeLinear({&part, 1}, bias, LinearLayout::kQkv);
  DealBlocks(SumOfBlocks(lengths_, shape.block_tokens));
}

void PagedLayer::DealBlocks(int num_blocks) {
  std::vector<std::int32_t> blocks(static_cast<std::size_t>(num_blocks));
  std::iota(blocks.begin(), blocks.end(), 0);
  std::shuffle(blocks.begin(), blocks.end(), std::mt19937(7));
  block_tables_.assign(lengths_.size() * static_cast<std::size_t>(max_blocks_), -1);
  std::size_t next = 0;
  for (int seq = 0; seq < static_cast<int>(lengths_.size()); ++seq) {
    const int count = BlocksOf(lengths_[static_cast<std::size_t>(seq)], shape_.block_tokens);
    for (int i = 0; i < count; ++i) {
      block_tables_[static_cast<std::size_t>(SlotOf(seq) * max_blocks_ + i)] = blocks[next++];
    }
  }
}

float PagedLayer::Scale() const { return 1.0F / std::sqrt(static_cast<float>(shape_.head_dim)); }

KvLayer PagedLayer::Kv() const {
  return {.planes = {keys_.tensor(), values_.tensor()},
          .num_kv_heads = shape_.kv_heads,
          .block_tokens = shape_.block_tokens,
          .head_dim = shape_.head_dim,
          .scales = shape_.fp8.value_or(KvScales())};
}

const std::vector<float>& PagedLayer::Input(int seq, int position) {
  auto& of_seq = inputs_[static_cast<std::size_t>(seq)];
  of_seq.resize(static_cast<std::size_t>(lengths_[static_cast<std::size_t>(seq)]));
  std::vector<float>& input = of_seq[static_cast<std::size_t>(position)];
  if (input.empty()) {
    input =
        RandomActs(backend_.capabilities().activation, projection_.hidden,
                   static_cast<std::uint32_t>(seq * 10000 + position), is_selected() ? 0.5F : 1.0F);
    for (float& x : input) {
      if (shape_.inputs_are_e4m3) x = FloatFromE4m3<void>(E4m3FromFloat<void>(x));
    }
  }
  return input;
}

void PagedLayer::WriteBefore(const std::vector<StepRows>& rows) {
  std::vector<StepRows> missing;
  for (const StepRows& row : rows) {
    if (row.count == 0) continue;
    int& written = written_[static_cast<std::size_t>(row.seq)];
    if (written < row.first) missing.push_back({row.seq, written, row.first - written});
    written = std::max(written, row.first + row.count);
  }
  if (!missing.empty()) Compute(nullptr, missing, 0, nullptr);
}

void PagedLayer::Compute(const Attend* attend, const std::vector<StepRows>& rows, int padded_tokens,
                         std::vector<float>* result) {
  std::vector<float> x;
  std::vector<std::int32_t> positions;
  std::vector<std::int32_t> token_seq;
  std::vector<std::int32_t> query_start = {0};
  std::vector<std::int32_t> seq_slot;
  for (const StepRows& row : rows) {
    seq_slot.push_back(row.count == 0 ? 0 : SlotOf(row.seq));
    for (int p = row.first; p < row.first + row.count; ++p) {
      const std::vector<float>& input = Input(row.seq, p);
      x.insert(x.end(), input.begin(), input.end());
      positions.push_back(p);
      token_seq.push_back(static_cast<std::int32_t>(seq_slot.size()) - 1);
    }
    query_start.push_back(static_cast<std::int32_t>(positions.size()));
  }
  const auto tokens = static_cast<std::int64_t>(positions.size());
  const std::int64_t t = tokens + padded_tokens;
  x.resize(static_cast<std::size_t>(t * projection_.hidden), 1.0F);
  positions.resize(static_cast<std::size_t>(t), 0);
  token_seq.resize(static_cast<std::size_t>(t), -1);

  const DeviceBatch batch(backend_, positions, token_seq, query_start, seq_slot, block_tables_,
                          max_blocks_);
  const DeviceFloats input = Act(backend_, {t, projection_.hidden}, x);
  const DeviceFloats q = PoisonedAct(backend_, {t, shape_.heads, shape_.head_dim});
  const DeviceFloats out = PoisonedAct(backend_, {t, shape_.heads, shape_.head_dim});
  backend_.QkvRopeWriteKv(input.tensor(), *qkv_, rope_.tensor(), batch.view(), Kv(), q.tensor());
  if (attend != nullptr) (*attend)(q.tensor(), batch.view(), Kv(), Scale(), out.tensor());
  backend_.Synchronize();
  if (result != nullptr) *result = RowsOf(out.Read(), row_elements(), 0, tokens);
}

std::vector<float> PagedLayer::Step(const std::vector<StepRows>& rows, int padded_tokens) {
  return StepBy([this](const Tensor& q, const BatchView& batch, const KvLayer& kv, float scale,
                       const Tensor& out) { backend_.PagedAttention(q, batch, kv, scale, out); },
                rows, padded_tokens);
}

std::vector<float> PagedLayer::StepBy(const Attend& attend, const std::vector<StepRows>& rows,
                                      int padded_tokens) {
  WriteBefore(rows);
  std::vector<float> out;
  Compute(&attend, rows, padded_tokens, &out);
  return out;
}

std::vector<float> PagedLayer::InChunks(int seq, int chunk) {
  std::vector<float> out;
  const int length = lengths_[static_cast<std::size_t>(seq)];
  for (int p = 0; p < length; p += chunk) {
    const auto piece = Step({{seq, p, std::min(chunk, length - p)}});
    out.insert(out.end(), piece.begin(), piece.end());
  }
  return out;
}

std::vector<double> PagedLayer::Head(int seq, int position, int head) {
  const std::vector<float>& x = Input(seq, position);
  const int dim = shape_.head_dim;
  std::vector<double> y(static_cast<std::size_t>(dim));
  for (int d = 0; d < dim; ++d) {
    const auto row = static_cast<std::size_t>(head * dim + d);
    double& sum = y[static_cast<std::size_t>(d)];
    if (!projection_.bias.empty()) sum = projection_.bias[row];
    const float* const weights = projection_.weights.data() + row * x.size();
    const std::size_t first =
        projection_.columns.empty() ? 0 : static_cast<std::size_t>(projection_.columns[row]);
    const std::size_t end = projection_.columns.empty() ? x.size() : first + 1;
    for (std::size_t i = first; i < end; ++i) sum += static_cast<double>(weights[i]) * x[i];
  }
  if (head >= shape_.heads + shape_.kv_heads) return Kept(std::move(y), head);
  const float* const rope = projection_.rope.data() + std::int64_t{position} * dim;
  for (int i = 0; i < dim / 2; ++i) {
    const double a = y[static_cast<std::size_t>(i)];
    const double b = y[static_cast<std::size_t>(i + dim / 2)];
    y[static_cast<std::size_t>(i)] = a * rope[i] - b * rope[dim / 2 + i];
    y[static_cast<std::size_t>(i + dim / 2)] = b * rope[i] + a * rope[dim / 2 + i];
  }
  return Kept(std::move(y), head);
}

std::vector<double> PagedLayer::Kept(std::vector<double> head_values, int head) const {
  if (!shape_.fp8 || head < shape_.heads) return head_values;
  const bool is_key = head < shape_.heads + shape_.kv_heads;
  const float scale = is_key ? shape_.fp8->keys : shape_.fp8->values;
  for (double& x : head_values) {
    x = static_cast<double>(
            FloatFromE4m3<void>(E4m3FromFloat<void>(static_cast<float>(x) * (1.0F / scale)))) *
        scale;
  }
  return head_values;
}

PagedLayer::Expected PagedLayer::Reference(int seq, int position) {
  Expected expected;
  expected.values.resize(static_cast<std::size_t>(row_elements()));
  expected.magnitudes.resize(expected.values.size());
  const int group = shape_.heads / shape_.kv_heads;
  const auto dim = static_cast<std::size_t>(shape_.head_dim);
  for (int kv_head = 0; kv_head < shape_.kv_heads; ++kv_head) {
    std::vector<std::vector<double>> keys;
    std::vector<std::vector<double>> values;
    for (int p = 0; p <= position; ++p) {
      keys.push_back(Head(seq, p, shape_.heads + kv_head));
      values.push_back(Head(seq, p, shape_.heads + shape_.kv_heads + kv_head));
    }
    for (int head = kv_head * group; head < (kv_head + 1) * group; ++head) {
      const std::vector<double> query = Head(seq, position, head);
      std::vector<double> weights;
      double sum = 0;
      for (const auto& key : keys) {
        const double score = std::inner_product(query.begin(), query.end(), key.begin(), 0.0);
        weights.push_back(std::exp(score * Scale()));
        sum += weights.back();
      }
      const std::size_t at = static_cast<std::size_t>(head) * dim;
      for (std::size_t p = 0; p < keys.size(); ++p) {
        for (std::size_t d = 0; d < dim; ++d) {
          const double term = weights[p] / sum * values[p][d];
          expected.values[at + d] += term;
          expected.magnitudes[at + d] += std::abs(term);
        }
      }
    }
  }
  return expected;
}

testing::AssertionResult PagedLayer::IsNear(const std::vector<float>& out, int row,
                                            const Expected& expected) const {
  const Tolerance& tolerance = ToleranceOf(Op::kAttention, backend_.capabilities().activation);
  for (std::size_t i = 0; i < expected.values.size(); ++i) {
    const double got = out[static_cast<std::size_t>(row * row_elements()) + i];
    // The projection's error counts as often as scores are large, some thirty times.
    const double magnitude = !is_selected() ? 32 : expected.magnitudes[i];
    if (!(std::abs(got - expected.values[i]) <= tolerance.FromDouble(magnitude))) {
      return testing::AssertionFailure()
             << "head " << i / static_cast<std::size_t>(shape_.head_dim) << " element "
             << i % static_cast<std::size_t>(shape_.head_dim) << " is " << got << " instead of "
             << expected.values[i] << ", of magnitude " << expected.magnitudes[i];
    }
  }
  return testing::AssertionSuccess();
}

}  // namespace thinkwire::worker::kernels
