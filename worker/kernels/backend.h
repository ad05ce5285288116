#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "worker/kernels/buffer.h"
#include "worker/kernels/tensor.h"
#include "worker/step/limits.h"
#include "worker/step/sampling.h"

// The op contract: what every device computes, one virtual call an op at fused size.
//
// Letters in shapes, everywhere: T tokens in the step, S sequences in the step, L rows of logits, H
// query heads, K KV heads, D head size, E hidden, F ffn, V vocabulary, N KV blocks, B tokens a
// block, Q slots, M blocks a sequence at most, R ranks. H, K, F and V are one rank's share.
//
// act = Backend::activation_dtype(): f32 on the CPU, bf16 on CUDA. Sums accumulate in f32.
//
// Canonical order. Each output element is added up in an order that the shapes E, F, D and the KV
// position alone fix: never T, S, the chunk, the thread count or the instruction set. So a token's
// results are the same bits whether it is a prompt's or a drawn one, whatever stands beside it.
//
// Padding. T, S and L may be padded up to a bucket: a token with sequence -1, a sequence with
// query length 0 and a logits row with slot -1 are computed on or skipped, and their results mean
// nothing and touch no KV block.
namespace thinkwire::worker::kernels {

// A matrix [out, in] in the backend's own layout, with or without a bias [out].
class LinearWeight {
 public:
  virtual ~LinearWeight() = default;
  virtual std::int64_t out_features() const = 0;
  virtual std::int64_t in_features() const = 0;
  virtual std::size_t bytes() const = 0;  // read when the matrix is applied once
};

// Rows and columns of a checkpoint's matrix, in host memory, any alignment. A vector has cols 1.
struct WeightSlice {
  const void* data = nullptr;
  DType dtype = DType::kBf16;  // bf16, f16 or f32
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t row_stride = 0;  // elements from one row to the next, >= cols
};

enum class LinearLayout : std::uint8_t {
  kPlain,   // parts stacked by rows
  kQkv,     // queries, keys, values, each whole heads, for QkvRopeWriteKv alone
  kGateUp,  // two parts of equal shape, gate then up, for GateUpSwiGlu alone
};

// Which tokens a step computes. All pointers are device arrays.
struct BatchView {
  std::int32_t num_tokens = 0;                 // T
  std::int32_t num_seqs = 0;                   // S
  std::int32_t max_blocks = 0;                 // M
  const std::int32_t* positions = nullptr;     // [T] position in its sequence
  const std::int32_t* token_seq = nullptr;     // [T] its sequence in the step, -1 padding
  const std::int32_t* query_start = nullptr;   // [S + 1] first token of each sequence
  const std::int32_t* seq_slot = nullptr;      // [S] its row of block_tables
  const std::int32_t* block_tables = nullptr;  // [Q, M] block that holds positions B*m .. B*m+B-1
};

// Keys and values of one layer. Within a block the layout is the backend's own; a block is
// contiguous, so that copying its bytes copies its tokens.
struct KvLayer {
  Tensor keys;                    // [N, K * B * D]
  Tensor values;                  // [N, K * B * D]
  std::int32_t num_kv_heads = 0;  // K
  std::int32_t block_tokens = 0;  // B
  std::int32_t head_dim = 0;      // D
};

// How each logits row draws. All pointers are device arrays of length L unless said.
struct DrawView {
  std::int32_t num_rows = 0;                // L
  const std::int32_t* slots = nullptr;      // -1 padding; any other at most once
  const std::int32_t* positions = nullptr;  // of the token to draw
  const std::int32_t* input_ids = nullptr;  // the row's last input token
  const step::Phase* phases = nullptr;      // of the token to draw
  // Reasoning rows whose input is the slot's think_end id draw as answer rows.
  const step::SamplingParams* slot_sampling = nullptr;  // [Q]
  std::int32_t vocab_size = 0;  // columns from here on are padding and are never drawn
};

// What AdjustLogits adjusts by, beside the slots' parameters. Device memory.
struct AdjustView {
  const step::LogitBias* biases =
      nullptr;    // [Q, 2, kMaxLogitBiases]: by slot and phase, each id once
  Tensor counts;  // i32 [Q, V]: words of adjust.h, by slot and id
};

// A slot's counts begin anew, with ids of the prompt and then ids drawn in `phase`.
struct CountsBegin {
  std::int32_t slot;
  std::int32_t first;  // of its ids
  std::int32_t num_prompt;
  std::int32_t num_drawn;
  step::Phase phase;
};

// What Logprobs gives of each row. All pointers are device arrays.
struct LogprobsView {
  const std::int32_t* slots = nullptr;             // [L], -1 padding
  const std::int32_t* ids = nullptr;               // [L] each in [0, vocab_size)
  const std::int32_t* num_alternatives = nullptr;  // [L], <= kMaxAlternatives and <= vocab_size
  std::int32_t num_rows = 0;                       // L
  std::int32_t vocab_size = 0;                     // columns from here on are padding
  float* logprobs = nullptr;                       // [L] of ids
  // [L, kMaxAlternatives] the row's most probable ids, most probable first, ties to the lowest id;
  // beyond its number nothing is written.
  std::int32_t* alternative_ids = nullptr;
  float* alternative_logprobs = nullptr;
};

// A point in the order of a backend's work. Threads: Record on the backend's own, Wait on any, one
// call at a time.
class Fence {
 public:
  virtual ~Fence() = default;
  // Everything that the backend was given before comes before the fence. Replaces the last Record.
  virtual void Record() = 0;
  // Returns once all that came before the last Record is done. REQUIRES: Record happened before.
  virtual void Wait() = 0;
};

// A point in the order of a backend's work, and the time at which the device came to it. For
// measuring. Threads: Record on the backend's own, SecondsSince on any.
class Stamp {
 public:
  virtual ~Stamp() = default;
  virtual void Record() = 0;  // replaces the last one
  // REQUIRES: both are the same backend's, and what came before either is done.
  virtual double SecondsSince(const Stamp& earlier) const = 0;
};

// Ops that were recorded once and run again over the same memory.
class Replay {
 public:
  virtual ~Replay() = default;
  virtual void Run() = 0;
};

// What a layer's part adds to the residual stream, and the norm that follows. All act [T, E], but
// weight bf16 [E]. A sum of its own lets a backend's next product do all this on the way.
struct ResidualNorm {
  Tensor partial = {};
  Tensor residual = {};
  Tensor sum = {};  // may be residual itself
  Tensor weight = {};
  float eps = 0;
  Tensor out = {};
};

// The largest step that a backend will be given, in one rank's shares.
struct StepExtent {
  std::int64_t max_tokens = 0;    // T
  std::int32_t max_seqs = 0;      // S
  std::int32_t num_kv_heads = 0;  // K
  std::int64_t qkv_rows = 0;      // (H + 2 K) D
  std::int64_t ffn = 0;           // F
};

// Threads: one thread (the rank's) calls an instance. Ops and copies are asynchronous on devices
// that are: they run in the order given, results are there after Synchronize or a Fence, and what
// they read and write stays allocated until then.
class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::string name() const = 0;  // "cpu avx512 2 threads"; the first word decides its bits
  virtual DType activation_dtype() const = 0;
  virtual std::int64_t only_head_dim() const { return 0; }  // the one D that it takes; 0: any

  // Memory. Allocate zero-fills and ends the process if there is none. AllocateHost gives host
  // memory that the device can copy from and to without a stop.
  virtual Buffer Allocate(std::size_t bytes) = 0;
  virtual Buffer AllocateHost(std::size_t bytes) = 0;
  // Bytes that Allocate can still give, before anything is kept back. 0: not known.
  virtual std::int64_t FreeMemory() const = 0;

  // Copies. `host` in AllocateHost's memory: asynchronous, so it stays as it is until a later fence
  // or Synchronize; else done on return.
  virtual void CopyToDevice(void* device, const void* host, std::size_t bytes) = 0;
  virtual void CopyToHost(void* host, const void* device, std::size_t bytes) = 0;
  virtual void CopyOnDevice(void* to, const void* from, std::size_t bytes) = 0;
  virtual void Synchronize() = 0;
  virtual std::unique_ptr<Fence> MakeFence() = 0;
  virtual std::unique_ptr<Stamp> MakeStamp() = 0;

  // Calls `ops` once to record what it gives this backend (it may or may not run already) and
  // returns what runs it again. Copies from and to host memory must not be among the ops, nor
  // anything that allocates. The communicator's calls may be.
  virtual std::unique_ptr<Replay> Record(std::function<void()> ops) = 0;
  // Whether replaying saves enough time that steps are padded up to recorded shapes.
  virtual bool gains_by_recording() const = 0;

  // What a communicator of this device's kind orders its work by: a cudaStream_t, null on the CPU.
  // From then on no op is held back to be done with the next.
  virtual void* stream() = 0;

  // Takes the scratch memory that steps up to `extent` need, before ranks begin to wait for each
  // other: an allocation on one device may wait for what runs on another.
  virtual void Reserve(const StepExtent& /*extent*/) {}

  // Weights. `parts` are stacked by rows and share cols; `bias` is empty or stacks to out rows.
  virtual std::unique_ptr<LinearWeight> MakeLinear(std::span<const WeightSlice> parts,
                                                   std::span<const WeightSlice> bias,
                                                   LinearLayout layout) = 0;
  // A norm's weight or an embedding table [rows, cols], converted to bf16.
  virtual Buffer MakeTable(const WeightSlice& slice) = 0;

  // to[index[i]] = values[i]. All i32; index, values [n], each index at most once.
  virtual void Scatter(const Tensor& index, const Tensor& values, const Tensor& to) = 0;

  // ids[t] = source_slot[t] >= 0 ? last_drawn[source_slot[t]] : given[t].
  // given, source_slot, ids i32 [T]; last_drawn i32 [Q].
  virtual void GatherInputIds(const Tensor& given, const Tensor& source_slot,
                              const Tensor& last_drawn, const Tensor& ids) = 0;

  // out[t] = table[ids[t]]. ids i32 [T]; table bf16 [V, E]; out act [T, E].
  virtual void Embed(const Tensor& ids, const Tensor& table, const Tensor& out) = 0;

  // out[l] = x[rows[l]]; rows i32 [L], x act [T, E], out act [L, E].
  virtual void GatherRows(const Tensor& x, const Tensor& rows, const Tensor& out) = 0;

  // out = x / sqrt(mean(x^2) + eps) * weight, per row. x, out act [T, E]; weight bf16 [E].
  virtual void RmsNorm(const Tensor& x, const Tensor& weight, float eps, const Tensor& out) = 0;

  // sum = residual + partial, then out = RmsNorm(sum).
  virtual void AddRmsNorm(const ResidualNorm& norm) = 0;

  // y = x W^T + bias, split by rows of W into q [T, H, D], keys and values [T, K, D]; q and keys
  // rotated (half rotation: pairs i, i + D/2) by rope[position]; keys and values written to their
  // blocks. x act [T, E]; rope f32 [max positions, D]: D/2 cosines, then D/2 sines; q act [T, H,
  // D].
  virtual void QkvRopeWriteKv(const Tensor& x, const LinearWeight& qkv, const Tensor& rope,
                              const BatchView& batch, const KvLayer& kv, const Tensor& q) = 0;

  // Causal attention of each token over positions 0 .. its own, which all lie in kv. Query head h
  // reads KV head h / (H / K). q, out act [T, H, D]; scale multiplies scores, 1/sqrt(D).
  // Canonical order: key tiles of fixed size at absolute positions, online softmax tile by tile
  // within a segment of fixed length, segments merged in ascending order.
  virtual void PagedAttention(const Tensor& q, const BatchView& batch, const KvLayer& kv,
                              float scale, const Tensor& out) = 0;

  // out = x W^T + bias. x act [T, in]; out act [T, out].
  virtual void Linear(const Tensor& x, const LinearWeight& weight, const Tensor& out) = 0;

  // out = silu(x Wg^T) * (x Wu^T), silu(z) = z / (1 + exp(-z)). x act [T, E]; out act [T, F].
  virtual void GateUpSwiGlu(const Tensor& x, const LinearWeight& gate_up, const Tensor& out) = 0;

  // logits = x W^T in f32. x act [L, E]; logits f32 [L, V].
  virtual void LmHead(const Tensor& x, const LinearWeight& weight, const Tensor& logits) = 0;

  // adjusted = logits with the biases and penalties of each row's slot and phase (adjust.h has the
  // formula and the order); of rows that have none, logits. logits f32 [L, V of all ranks];
  // adjusted f32 [L, vocab_size].
  virtual void AdjustLogits(const Tensor& logits, const DrawView& view, const AdjustView& adjust,
                            const Tensor& adjusted) = 0;

  // counts i32 [Q, V], ids [n], begins [num_begins], each slot once: device memory.
  virtual void BeginCounts(const CountsBegin* begins, std::int32_t num_begins,
                           const std::int32_t* ids, const Tensor& counts) = 0;

  // Counts what Draw drew, ids i32 [L], for the rows whose slot and phase have a penalty.
  virtual void CountDraws(const DrawView& view, const Tensor& ids, const Tensor& counts) = 0;

  // Draws a token for each row: Gumbel-max over the kept set (temperature, top_k, top_p, min_p in
  // that order; ties to the lowest id; temperature 0 is argmax), noise from
  // Philox4x32-10(key = seed; counter = token id, position, output index, 0).
  // logits f32 [L, V of all ranks]; ids i32 [L]; logprobs f32 [L] (log softmax of the raw logits
  // at the drawn id); not_finite i32 [L] (1: a NaN or infinity among the logits); last_drawn
  // i32 [Q]: gets the drawn id at the row's slot.
  virtual void Draw(const Tensor& logits, const DrawView& view, const Tensor& ids,
                    const Tensor& logprobs, const Tensor& not_finite, const Tensor& last_drawn) = 0;

  // Log softmax of logits f32 [L, V of all ranks] at the view's ids, the bits that Draw gives,
  // and at the rows' most probable ids. Rows that Draw would flag get nothing.
  virtual void Logprobs(const Tensor& logits, const LogprobsView& view) = 0;
};

}  // namespace thinkwire::worker::kernels
