#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "worker/kernels/buffer.h"
#include "worker/kernels/device.h"
#include "worker/kernels/draw.h"
#include "worker/kernels/experts.h"
#include "worker/kernels/kv.h"
#include "worker/kernels/latents.h"
#include "worker/kernels/norm.h"
#include "worker/kernels/parts_extent.h"
#include "worker/kernels/tensor.h"
#include "worker/kernels/weights.h"

// The op contract: what every device computes, one virtual call an op at fused size. What the ops
// take is said by subject: weights.h, kv.h, norm.h, latents.h, experts.h, draw.h; what a device is,
// in device.h.
//
// Letters in shapes, everywhere: T tokens in the step, S sequences in the step, L rows of logits, H
// query heads, K KV heads, D head size, E hidden, F ffn, V vocabulary, N KV blocks, B tokens a
// block, Q slots, M blocks a sequence at most, R ranks. H, K, F and V are one rank's share.
//
// act = Capabilities::activation: f32 on the CPU, bf16 on CUDA. Sums accumulate in f32.
//
// Canonical order. Each output element is added up in an order that the shapes E, F, D and the KV
// position alone fix: never T, S, the chunk, the thread count or the instruction set. So a token's
// results are the same bits whether it is a prompt's or a drawn one, whatever stands beside it.
//
// Padding. T, S and L may be padded up to a bucket: a token with sequence -1, a sequence with
// query length 0 and a logits row with slot -1 are computed on or skipped, and their results mean
// nothing and touch no KV block.
namespace thinkwire::worker::kernels {

inline constexpr std::size_t kAheadAlignment = 512;

// Threads: one thread (the rank's) calls an instance. Ops and copies are asynchronous on devices
// that are: they run in the order given, results are there after Synchronize or a Fence, and what
// they read and write stays allocated until then.
class Backend {
 public:
  virtual ~Backend() = default;

  virtual const Capabilities& capabilities() const = 0;

  // Memory. Allocate zero-fills and ends the process if there is none. AllocateHost gives host
  // memory that the device can copy from and to without a stop.
  virtual Buffer Allocate(std::size_t bytes) = 0;
  virtual Buffer AllocateHost(std::size_t bytes) = 0;
  // Bytes that Allocate can still give, before anything is kept back; where there is a limit of
  // DeviceConfig, under it. 0: not known, or none.
  virtual std::int64_t FreeMemory() const = 0;
  // Takes so many bytes at once, of which Allocate and the weights made from now on have theirs
  // while they last, each from a multiple of kAheadAlignment on: by itself each would be rounded up
  // to a device's own pieces.
  virtual void TakeAhead(std::size_t /*bytes*/) {}

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

  // What a communicator of this device's kind orders its work by: a cudaStream_t, null where the
  // device has none. From then on no op is held back to be done with the next.
  virtual void* ShareStream() { return nullptr; }

  // Takes the scratch memory that steps up to `extent` need, before ranks begin to wait for each
  // other: an allocation on one device may wait for what runs on another.
  virtual void Reserve(const StepExtent& /*extent*/) {}
  // The same for latent attention and experts.
  virtual void ReserveParts(const PartsExtent& /*extent*/) {}

  // Weights. `parts` are stacked by rows and share cols; `bias` is empty or, of a kQkv weight
  // alone, stacks to out rows.
  virtual std::unique_ptr<LinearWeight> MakeLinear(std::span<const WeightSlice> parts,
                                                   std::span<const WeightSlice> bias,
                                                   LinearLayout layout) = 0;
  // A norm's weight or an embedding table [rows, cols], converted to bf16.
  virtual Buffer MakeTable(const WeightSlice& slice) = 0;
  // An embedding table likewise in host memory, from which Embed reads a row a token.
  virtual Buffer MakeHostTable(const WeightSlice& slice) { return MakeTable(slice); }
  // `rows` are the heads' one after the other, [H (P + U), C]: of each P that meet its query and U
  // that make its result.
  virtual std::unique_ptr<LatentHeads> MakeLatentHeads(const WeightSlice& rows,
                                                       const LatentShape& shape) = 0;
  // Memory for experts that are set afterwards, one by one.
  virtual std::unique_ptr<ExpertWeights> MakeExperts(const ExpertShape& shape) = 0;

  // to[index[i]] = values[i]. All i32; index, values [n], each index at most once.
  virtual void Scatter(const Tensor& index, const Tensor& values, const Tensor& to) = 0;

  // ids[t] = source_slot[t] >= 0 ? last_drawn[source_slot[t]] : given[t].
  // given, source_slot, ids i32 [T]; last_drawn i32 [Q].
  virtual void GatherInputIds(const Tensor& given, const Tensor& source_slot,
                              const Tensor& last_drawn, const Tensor& ids) = 0;

  // out[t] = table[ids[t]]. ids i32 [T]; table bf16 [V, E], MakeTable's or MakeHostTable's; out act
  // [T, E].
  virtual void Embed(const Tensor& ids, const Tensor& table, const Tensor& out) = 0;

  // Whether an embedding table may stay packed, for EmbedPacked; else MakeTable makes bf16 of it.
  virtual bool EmbedsPacked() const { return false; }
  // Embed of a packed table [V, E] as files have it, in this device's memory: with the bits that
  // the same table has in bf16. REQUIRES: EmbedsPacked().
  virtual void EmbedPacked(const Tensor& /*ids*/, const WeightSlice& /*table*/,
                           const Tensor& /*out*/) {
    Check(false, "a device that embeds packed rows");
  }

  // out[l] = x[rows[l]]; rows i32 [L], x act [T, E], out act [L, E].
  virtual void GatherRows(const Tensor& x, const Tensor& rows, const Tensor& out) = 0;

  // out = x / sqrt(mean(x^2) + eps) * weight, per row. x, out act [T, E]; weight bf16 [E].
  virtual void RmsNorm(const Tensor& x, const Tensor& weight, float eps, const Tensor& out) = 0;

  // sum = residual + partial, then out = RmsNorm(sum).
  virtual void AddRmsNorm(const ResidualNorm& norm) = 0;

  // y = x W^T + bias, split by rows of W into q [T, H, D], keys and values [T, K, D]; q and keys
  // rotated (half rotation: pairs i, i + D/2) by rope[position]; keys and values written to their
  // blocks, as act has them or then rounded (KvScales). x act [T, E]; rope f32 [max positions, D]:
  // D/2 cosines, then D/2 sines; q act [T, H, D].
  virtual void QkvRopeWriteKv(const Tensor& x, const LinearWeight& qkv, const Tensor& rope,
                              const BatchView& batch, const KvLayer& kv, const Tensor& q) = 0;

  // Causal attention of each token over positions 0 .. its own, which all lie in kv. Query head h
  // reads KV head h / (H / K). q, out act [T, H, D]; scale multiplies scores, 1/sqrt(D).
  // Canonical order: key tiles of fixed size at absolute positions, online softmax tile by tile
  // within a segment of fixed length, segments merged in ascending order. FP8 keys and values are
  // summed as their codes' numbers, a token's own too; the keys' scale is part of the scores',
  // the values' multiplies the result.
  virtual void PagedAttention(const Tensor& q, const BatchView& batch, const KvLayer& kv,
                              float scale, const Tensor& out) = 0;

  // Writes each token's key to its block: latent = RmsNorm(rows[:C]), and rows[C:] rotated.
  virtual void WriteLatents(const LatentKeys& keys, const PairRotation& rotation,
                            const BatchView& batch, const KvLayer& kv) = 0;

  // out[t, h] = what meets the keys: q's first P columns of head h times its [C, P], and its last
  // R rotated. q act [T, H (P + R)]; out act [T, H, C + R].
  virtual void AbsorbQueries(const Tensor& q, const LatentHeads& heads,
                             const PairRotation& rotation, const BatchView& batch,
                             const Tensor& out) = 0;

  // Causal attention of each token over positions 0 .. its own, which all lie in kv: scores over
  // all of a key, results over its latent, in PagedAttention's order. queries act [T, H, C + R];
  // out act [T, H, C].
  virtual void AttendLatents(const Tensor& queries, const BatchView& batch, const KvLayer& kv,
                             float scale, const Tensor& out) = 0;

  // out[t, i] = latents[t, first_head + i] times that head's [U, C]. latents act [T, H, C]; out act
  // [T, n U], n heads from first_head on.
  virtual void LatentValues(const Tensor& latents, const LatentHeads& heads,
                            std::int64_t first_head, const Tensor& out) = 0;

  // logits = x Wg^T in f32, and each token's experts by ExpertRouter's rule, in its arithmetic. x
  // act [T, E]; gate [X, E], kPlain. A token is padding where token_seq [T] is -1; null: none is.
  virtual void RouteExperts(const Tensor& x, const LinearWeight& gate, const Routing& routing,
                            const std::int32_t* token_seq, const ExpertChoice& choice) = 0;

  // out = sum over a token's chosen experts that are among mix.experts, by ascending id, of
  // weight * expert(x), each product rounded before it is added to what began as 0, in f32; then
  // the shared one's. expert(x) = GateUpSwiGlu, then the down projection in f32. x, out act [T, E].
  virtual void MixExperts(const Tensor& x, const ExpertMix& mix, const Tensor& out) = 0;

  // out = x W^T. x act [T, in]; out act [T, out].
  virtual void Linear(const Tensor& x, const LinearWeight& weight, const Tensor& out) = 0;

  // out = silu(x Wg^T) * (x Wu^T), silu(z) = z / (1 + exp(-z)). x act [T, E]; out act [T, F].
  virtual void GateUpSwiGlu(const Tensor& x, const LinearWeight& gate_up, const Tensor& out) = 0;

  // logits = x W^T in f32. x act [L, E]; logits f32 [L, V].
  virtual void LmHead(const Tensor& x, const LinearWeight& weight, const Tensor& logits) = 0;

  // adjusted = logits with the biases and penalties of each row's slot and phase, and its mask
  // (adjust.h has the formula and the order); of rows that have none, logits. logits f32 [L, V of
  // all ranks]; adjusted f32 [L, vocab_size].
  virtual void AdjustLogits(const Tensor& logits, const DrawView& view, const AdjustView& adjust,
                            const Tensor& adjusted) = 0;

  // counts i32 [Q, V], ids [n], begins [num_begins], each slot once: device memory.
  virtual void BeginCounts(const CountsBegin* begins, std::int32_t num_begins,
                           const std::int32_t* ids, const Tensor& counts) = 0;

  // Counts what Draw drew, ids i32 [L], for the rows whose slot and phase have a penalty.
  // REQUIRES: each slot that counts at most once.
  virtual void CountDraws(const DrawView& view, const Tensor& ids, const Tensor& counts) = 0;

  // Draws a token for each row: Gumbel-max over the kept set (temperature, top_k, top_p, min_p in
  // that order; ties to the lowest id; temperature 0 is argmax), noise from
  // Philox4x32-10(key = seed; counter = token id, position, output index, 0).
  // logits f32 [L, V of all ranks]; ids i32 [L]; logprobs f32 [L] (log softmax of the raw logits
  // at the drawn id); not_finite i32 [L] (1: a NaN or infinity among the logits); last_drawn
  // i32 [Q]: gets the drawn id at the row's slot, of several rows of a slot the last one's.
  virtual void Draw(const Tensor& logits, const DrawView& view, const Tensor& ids,
                    const Tensor& logprobs, const Tensor& not_finite, const Tensor& last_drawn) = 0;

  // Log softmax of logits f32 [L, V of all ranks] at the view's ids, the bits that Draw gives,
  // and at the rows' most probable ids. Rows that Draw would flag get nothing.
  virtual void Logprobs(const Tensor& logits, const LogprobsView& view) = 0;
};

}  // namespace thinkwire::worker::kernels
