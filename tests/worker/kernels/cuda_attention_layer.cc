#include "tests/worker/kernels/cuda_attention_layer.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <memory>
#include <numeric>
#include <random>
#include <utility>

#include "worker/kernels/cuda/attention/kv_block.cuh"
#include "worker/kernels/cuda/device/cuda_check.h"

namespace thinkwire::worker::kernels {
namespace {

constexpr std::uint16_t kNan = 0x7FC0;

enum class Plane : std::uint32_t { kQuery, kKey, kValue };

std::uint16_t ToBf16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  return static_cast<std::uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}
double FromBf16(std::uint16_t x) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(x) << 16);
}

// Uniform in [-1, 1); queries are six times as large, so that weights differ much.
std::uint16_t Element(Plane plane, int seq, int position, int head, int d) {
  std::uint64_t x = (static_cast<std::uint64_t>(plane) << 60) ^
                    (static_cast<std::uint64_t>(seq) << 44) ^
                    (static_cast<std::uint64_t>(position) << 20) ^
                    (static_cast<std::uint64_t>(head) << 8) ^ static_cast<std::uint64_t>(d);
  x = (x + 0x9E3779B97F4A7C15U) * 0xBF58476D1CE4E5B9U;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
  x ^= x >> 31;
  const float uniform = static_cast<float>(x >> 40) / 8388608.0F - 1.0F;
  return ToBf16(plane == Plane::kQuery ? 6.0F * uniform : uniform);
}

std::vector<double> RowOf(Plane plane, int seq, int position, int head) {
  std::vector<double> row(kHeadDim);
  for (int d = 0; d < kHeadDim; ++d) {
    row[static_cast<std::size_t>(d)] = FromBf16(Element(plane, seq, position, head, d));
  }
  return row;
}

int BlocksOf(int length, int block_tokens) { return (length + block_tokens - 1) / block_tokens; }

int SumOfBlocks(const std::vector<int>& lengths, int block_tokens) {
  int blocks = 0;
  for (const int length : lengths) blocks += BlocksOf(length, block_tokens);
  return blocks;
}

std::size_t PlaneBytes(const AttentionShape& shape, int num_blocks) {
  return static_cast<std::size_t>(num_blocks) * static_cast<std::size_t>(shape.kv_heads) *
         static_cast<std::size_t>(shape.block_tokens) * kHeadDim * sizeof(std::uint16_t);
}

// Sequences of a step, padded ones included.
constexpr int kMostStepRows = 256;

}  // namespace

DeviceArray::DeviceArray(std::size_t bytes) {
  CUDA_CHECK(cudaMalloc(&data_, bytes));
  CUDA_CHECK(cudaMemset(data_, 0, bytes));
}
DeviceArray::~DeviceArray() { cudaFree(data_); }
void DeviceArray::Write(const void* from, std::size_t bytes, std::size_t at) {
  CUDA_CHECK(cudaMemcpy(static_cast<char*>(data_) + at, from, bytes, cudaMemcpyHostToDevice));
}
void DeviceArray::Read(void* to, std::size_t bytes) const {
  CUDA_CHECK(cudaMemcpy(to, data_, bytes, cudaMemcpyDeviceToHost));
}

float CudaAttentionLayer::Scale() { return 1.0F / std::sqrt(static_cast<float>(kHeadDim)); }

std::size_t CudaAttentionLayer::row_elements() const {
  return static_cast<std::size_t>(shape_.heads) * kHeadDim;
}

CudaAttentionLayer::CudaAttentionLayer(const AttentionShape& shape, std::vector<int> lengths,
                                       std::int64_t partial_rows)
    : shape_(shape),
      lengths_(std::move(lengths)),
      written_(lengths_.size()),
      max_blocks_(
          BlocksOf(*std::max_element(lengths_.begin(), lengths_.end()), shape.block_tokens)),
      num_blocks_(SumOfBlocks(lengths_, shape.block_tokens)),
      tables_(lengths_.size() * static_cast<std::size_t>(max_blocks_) * sizeof(std::int32_t)),
      keys_(PlaneBytes(shape, num_blocks_)),
      values_(PlaneBytes(shape, num_blocks_)),
      workspace_memory_(AttentionWorkspaceBytes(kMostStepRows, shape.kv_heads, partial_rows)),
      workspace_(MakeAttentionWorkspace(workspace_memory_.data(), kMostStepRows, shape.kv_heads,
                                        partial_rows)) {
  int device = 0;
  CUDA_CHECK(cudaGetDevice(&device));
  CUDA_CHECK(cudaDeviceGetAttribute(&num_sms_, cudaDevAttrMultiProcessorCount, device));
  std::vector<std::int32_t> blocks(static_cast<std::size_t>(num_blocks_));
  std::iota(blocks.begin(), blocks.end(), 0);
  std::mt19937 random(7);
  std::shuffle(blocks.begin(), blocks.end(), random);
  block_tables_.assign(lengths_.size() * static_cast<std::size_t>(max_blocks_), -1);
  std::size_t next = 0;
  for (int seq = 0; seq < static_cast<int>(lengths_.size()); ++seq) {
    const int count = BlocksOf(lengths_[static_cast<std::size_t>(seq)], shape.block_tokens);
    for (int i = 0; i < count; ++i) {
      block_tables_[static_cast<std::size_t>(SlotOf(seq) * max_blocks_ + i)] = blocks[next++];
    }
  }
  tables_.Write(block_tables_.data(), block_tables_.size() * sizeof(std::int32_t));
  const std::vector<std::uint16_t> nans(PlaneBytes(shape, num_blocks_) / sizeof(std::uint16_t),
                                        kNan);
  keys_.Write(nans.data(), nans.size() * sizeof(std::uint16_t));
  values_.Write(nans.data(), nans.size() * sizeof(std::uint16_t));
}

void CudaAttentionLayer::WriteUpTo(int seq, int length) {
  for (int& p = written_[static_cast<std::size_t>(seq)]; p < length; ++p) {
    const int entry = SlotOf(seq) * max_blocks_ + p / shape_.block_tokens;
    const int offset = p % shape_.block_tokens;
    for (int head = 0; head < shape_.kv_heads; ++head) {
      const auto at = static_cast<std::size_t>(
          KvTokenOffset(block_tables_[static_cast<std::size_t>(entry)], shape_.kv_heads, head,
                        shape_.block_tokens, offset));
      for (const Plane plane : {Plane::kKey, Plane::kValue}) {
        std::uint16_t row[kHeadDim];
        for (int d = 0; d < kHeadDim; ++d) {
          row[KvPiece(d / 8, offset) * 8 + d % 8] = Element(plane, seq, p, head, d);
        }
        (plane == Plane::kKey ? keys_ : values_).Write(row, sizeof row, at * sizeof row[0]);
      }
    }
  }
}

std::vector<std::uint16_t> CudaAttentionLayer::Step(const std::vector<StepRows>& rows,
                                                    int padded_tokens) {
  std::vector<std::int32_t> positions;
  std::vector<std::int32_t> token_seq;
  std::vector<std::int32_t> query_start;
  std::vector<std::int32_t> seq_slot;
  std::vector<std::uint16_t> queries;
  for (const StepRows& row : rows) {
    query_start.push_back(static_cast<std::int32_t>(positions.size()));
    seq_slot.push_back(row.count == 0 ? 0 : SlotOf(row.seq));
    if (row.count > 0) WriteUpTo(row.seq, row.first + row.count);
    for (int p = row.first; p < row.first + row.count; ++p) {
      positions.push_back(p);
      token_seq.push_back(static_cast<std::int32_t>(seq_slot.size()) - 1);
      for (int head = 0; head < shape_.heads; ++head) {
        for (int d = 0; d < kHeadDim; ++d) {
          queries.push_back(Element(Plane::kQuery, row.seq, p, head, d));
        }
      }
    }
  }
  query_start.push_back(static_cast<std::int32_t>(positions.size()));
  std::vector<std::uint16_t> out(queries.size());
  positions.resize(positions.size() + static_cast<std::size_t>(padded_tokens), 0);
  token_seq.resize(positions.size(), -1);
  queries.resize(positions.size() * row_elements(), kNan);

  const auto on_device = [](const auto& host) {
    auto array = std::make_unique<DeviceArray>(host.size() * sizeof(host[0]));
    array->Write(host.data(), host.size() * sizeof(host[0]));
    return array;
  };
  const auto q = on_device(queries);
  const auto result = on_device(std::vector<std::uint16_t>(queries.size(), kNan));
  const auto device_positions = on_device(positions);
  const auto device_token_seq = on_device(token_seq);
  const auto device_query_start = on_device(query_start);
  const auto device_seq_slot = on_device(seq_slot);
  const BatchView batch = {.num_tokens = static_cast<std::int32_t>(positions.size()),
                           .num_seqs = static_cast<std::int32_t>(rows.size()),
                           .max_blocks = max_blocks_,
                           .positions = device_positions->as<std::int32_t>(),
                           .token_seq = device_token_seq->as<std::int32_t>(),
                           .query_start = device_query_start->as<std::int32_t>(),
                           .seq_slot = device_seq_slot->as<std::int32_t>(),
                           .block_tables = tables_.as<std::int32_t>()};
  const std::int64_t block_elements =
      std::int64_t{shape_.kv_heads} * shape_.block_tokens * kHeadDim;
  const KvLayer kv = {
      .planes = {MakeTensor(keys_.data(), DType::kBf16, num_blocks_, block_elements),
                 MakeTensor(values_.data(), DType::kBf16, num_blocks_, block_elements)},
      .num_kv_heads = shape_.kv_heads,
      .block_tokens = shape_.block_tokens,
      .head_dim = kHeadDim};
  LaunchPagedAttention(
      MakeTensor(q->data(), DType::kBf16, batch.num_tokens, shape_.heads, kHeadDim), batch, kv,
      Scale(), MakeTensor(result->data(), DType::kBf16, batch.num_tokens, shape_.heads, kHeadDim),
      workspace_, num_sms_, nullptr);
  CUDA_CHECK(cudaDeviceSynchronize());
  if (!out.empty()) result->Read(out.data(), out.size() * sizeof(out[0]));
  return out;
}

std::vector<std::uint16_t> CudaAttentionLayer::InChunks(int seq, int chunk) {
  std::vector<std::uint16_t> out;
  const int length = lengths_[static_cast<std::size_t>(seq)];
  for (int p = 0; p < length; p += chunk) {
    const auto piece = Step({{seq, p, std::min(chunk, length - p)}});
    out.insert(out.end(), piece.begin(), piece.end());
  }
  return out;
}

CudaAttentionLayer::Expected CudaAttentionLayer::Reference(int seq, int position) const {
  Expected expected;
  expected.values.resize(row_elements());
  expected.magnitudes.resize(row_elements());
  const int group = shape_.heads / shape_.kv_heads;
  for (int kv_head = 0; kv_head < shape_.kv_heads; ++kv_head) {
    std::vector<std::vector<double>> keys;
    std::vector<std::vector<double>> values;
    for (int p = 0; p <= position; ++p) {
      keys.push_back(RowOf(Plane::kKey, seq, p, kv_head));
      values.push_back(RowOf(Plane::kValue, seq, p, kv_head));
    }
    for (int head = kv_head * group; head < (kv_head + 1) * group; ++head) {
      const std::vector<double> query = RowOf(Plane::kQuery, seq, position, head);
      std::vector<double> weights;
      double sum = 0;
      for (const auto& key : keys) {
        const double score = std::inner_product(query.begin(), query.end(), key.begin(), 0.0);
        weights.push_back(std::exp(score * Scale()));
        sum += weights.back();
      }
      const std::size_t at = static_cast<std::size_t>(head) * kHeadDim;
      for (std::size_t p = 0; p < keys.size(); ++p) {
        for (std::size_t d = 0; d < kHeadDim; ++d) {
          const double term = weights[p] / sum * values[p][d];
          expected.values[at + d] += term;
          expected.magnitudes[at + d] += std::abs(term);
        }
      }
    }
  }
  return expected;
}

}  // namespace thinkwire::worker::kernels
