#include "worker/model/layers/mla.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <utility>

#include "common/check.h"
#include "worker/kernels/stacked_rows.h"

namespace thinkwire::worker::model {
namespace {

using kernels::LinearLayout;
using kernels::Tensor;
using kernels::WeightSlice;

constexpr float kNormEps = 1e-6F;

// Where the plan has each weight and table (MlaPart).
enum : std::size_t { kQueries, kKeys, kHeads, kResult, kQueryLatents };
enum : std::size_t { kKeyNorm, kQueryNorm };

// to [T, n] = columns [first, first + n) of from [T, any].
void TakeColumns(const Tensor& from, std::int64_t first, const Tensor& to) {
  const std::int64_t n = to.dim(1);
  for (std::int64_t t = 0; t < to.dim(0); ++t) {
    std::memcpy(to.as<float>() + t * n, from.as<float>() + t * from.dim(1) + first,
                static_cast<std::size_t>(n) * sizeof(float));
  }
}

// Likewise, the other way.
void PutColumns(const Tensor& from, std::int64_t first, const Tensor& to) {
  const std::int64_t n = from.dim(1);
  for (std::int64_t t = 0; t < to.dim(0); ++t) {
    std::memcpy(to.as<float>() + t * to.dim(1) + first, from.as<float>() + t * n,
                static_cast<std::size_t>(n) * sizeof(float));
  }
}

// Rows of heads, one head after the other, of as many tokens.
Tensor ByHead(const Activation& activation, std::int64_t heads, std::int64_t tokens) {
  const Tensor flat = activation.Rows(tokens);
  return kernels::MakeTensor(flat.data, flat.dtype, heads, tokens, flat.dim(1) / heads);
}

Tensor OfHead(const Tensor& x, std::int64_t head) {
  return kernels::MakeTensor(x.as<float>() + head * x.dim(1) * x.dim(2), x.dtype, x.dim(1),
                             x.dim(2));
}

// bf16 [cols, rows]. Of a source that knows sizes alone, zeros.
std::vector<std::uint16_t> Transposed(const WeightSlice& slice) {
  std::vector<std::uint16_t> turned(static_cast<std::size_t>(slice.rows * slice.cols));
  if (slice.data == nullptr) return turned;
  std::vector<std::uint16_t> row(static_cast<std::size_t>(slice.cols));
  for (std::int64_t r = 0; r < slice.rows; ++r) {
    kernels::ConvertRow({&slice, r}, row.data());
    for (std::int64_t c = 0; c < slice.cols; ++c) {
      const std::int64_t input = slice.order == nullptr ? c : slice.order[c];
      turned[static_cast<std::size_t>(input * slice.rows + r)] = row[static_cast<std::size_t>(c)];
    }
  }
  return turned;
}

std::unique_ptr<kernels::LinearWeight> MakeTransposed(const WeightSlice& slice,
                                                      kernels::Backend& backend) {
  const std::vector<std::uint16_t> turned = Transposed(slice);
  const WeightSlice part = {
      .data = turned.data(), .rows = slice.cols, .cols = slice.rows, .row_stride = slice.rows};
  return backend.MakeLinear({&part, 1}, {}, LinearLayout::kPlain);
}

std::vector<std::unique_ptr<kernels::LinearWeight>> LoadSummed(const PlannedWeight& weight,
                                                               const LoadPlace& place) {
  std::vector<std::unique_ptr<kernels::LinearWeight>> summed;
  for (const RankShape& shape : SummedShapes(place.shape)) {
    summed.push_back(LoadLinear(weight, {shape, place.source, place.backend}));
  }
  return summed;
}

bool HasQueryLatents(const PartPlan& part) { return part.weights.size() > kQueryLatents; }

}  // namespace

Mla::Mla(const MlaConfig& config, const PartPlan& part, const PartPlace& place)
    : backend_(place.load.backend),
      config_(config),
      rotation_({.table = place.rope, .is_interleaved = config.rope_interleave}),
      q_a_(HasQueryLatents(part) ? LoadLinear(part.weights[kQueryLatents], place.load) : nullptr),
      q_a_norm_(HasQueryLatents(part) ? LoadTable(part.tables[kQueryNorm], place.load)
                                      : kernels::Buffer()),
      q_(LoadLinear(part.weights[kQueries], place.load)),
      kv_a_(LoadLinear(part.weights[kKeys], place.load)),
      kv_a_norm_(LoadTable(part.tables[kKeyNorm], place.load)),
      heads_(LoadHeads(config, part.weights[kHeads].matrices[0], place.load)),
      out_(LoadSummed(part.weights[kResult], place.load)),
      sum_(out_.size(), out_[0]->out_features(), place.scratch),
      queries_(place.scratch.Get("queries", q_->out_features())),
      keys_(place.scratch.Get("keys", config.key_dim())),
      latents_(place.scratch.Get("latents", config.kv_lora_rank)),
      normed_latents_(place.scratch.Get("normed_latents", config.kv_lora_rank)),
      absorbed_(place.scratch.Get("absorbed", std::ssize(heads_) * config.kv_lora_rank)),
      rotated_(place.scratch.Get("rotated", std::ssize(heads_) * config.qk_rope_head_dim)),
      attended_(place.scratch.Get("attended_latents", std::ssize(heads_) * config.kv_lora_rank)),
      results_(place.scratch.Get("attended", out_[0]->in_features())),
      of_one_head_(
          place.scratch.Get("of_one_head", std::max(config.qk_nope_head_dim, config.v_head_dim))),
      q_latents_(q_a_ == nullptr ? nullptr : &place.scratch.Get("q_latents", config.q_lora_rank)),
      normed_q_latents_(
          q_a_ == nullptr ? nullptr : &place.scratch.Get("normed_q_latents", config.q_lora_rank)) {
  const std::int64_t heads = std::ssize(heads_);
  CHECK(q_->out_features() == heads * config.qk_head_dim() &&
            std::ssize(out_) * out_[0]->in_features() == heads * config.v_head_dim,
        "a rank's heads are whole");
}

std::vector<Mla::Head> Mla::LoadHeads(const MlaConfig& config, const PlannedTensor& tensor,
                                      const LoadPlace& place) {
  const Region all = RegionOf(tensor, place.shape);
  std::vector<Head> heads;
  for (std::int64_t row = all.first_row; row < all.first_row + all.rows;) {
    const HostSlice keys =
        place.source.Slice(tensor.spec, {row, config.qk_nope_head_dim, 0, config.kv_lora_rank});
    row += config.qk_nope_head_dim;
    const HostSlice values =
        place.source.Slice(tensor.spec, {row, config.v_head_dim, 0, config.kv_lora_rank});
    row += config.v_head_dim;
    heads.push_back({MakeTransposed(keys.slice, place.backend),
                     place.backend.MakeLinear({&values.slice, 1}, {}, LinearLayout::kPlain)});
  }
  return heads;
}

Tensor Mla::Norm(const Tensor& x, const kernels::Buffer& weight, const Activation& to) {
  const Tensor normed = to.Rows(x.dim(0));
  backend_.RmsNorm(x, kernels::MakeTensor(weight.data(), kernels::DType::kBf16, x.dim(1)), kNormEps,
                   normed);
  return normed;
}

Tensor Mla::Queries(const Tensor& x) {
  const Tensor queries = queries_.Rows(x.dim(0));
  if (q_a_ == nullptr) {
    backend_.Linear(x, *q_, queries);
    return queries;
  }
  const Tensor latents = q_latents_->Rows(x.dim(0));
  backend_.Linear(x, *q_a_, latents);
  backend_.Linear(Norm(latents, q_a_norm_, *normed_q_latents_), *q_, queries);
  return queries;
}

void Mla::WriteKeys(const Tensor& x, const kernels::BatchView& batch, const kernels::KvLayer& kv) {
  const Tensor keys = keys_.Rows(x.dim(0));
  const Tensor latents = latents_.Rows(x.dim(0));
  backend_.Linear(x, *kv_a_, keys);
  TakeColumns(keys, 0, latents);
  kernels::WriteLatents(Norm(latents, kv_a_norm_, normed_latents_), {keys, config_.kv_lora_rank},
                        rotation_, batch, kv);
}

kernels::LatentQueries Mla::Absorb(const Tensor& q, const kernels::BatchView& batch) {
  const std::int64_t tokens = q.dim(0);
  const Tensor absorbed = ByHead(absorbed_, std::ssize(heads_), tokens);
  const Tensor rotated = ByHead(rotated_, std::ssize(heads_), tokens);
  const Tensor query = kernels::MakeTensor(of_one_head_.Rows(tokens).data, q.dtype, tokens,
                                           config_.qk_nope_head_dim);
  for (std::int64_t h = 0; h < std::ssize(heads_); ++h) {
    TakeColumns(q, h * config_.qk_head_dim(), query);
    backend_.Linear(query, *heads_[static_cast<std::size_t>(h)].absorb, OfHead(absorbed, h));
  }
  kernels::RotateQueries({q, config_.qk_nope_head_dim}, config_.qk_head_dim(), rotation_, batch,
                         rotated);
  return {absorbed, rotated};
}

Tensor Mla::Values(std::size_t summand, const Tensor& latents) {
  const std::int64_t tokens = latents.dim(1);
  const std::int64_t heads = std::ssize(heads_) / std::ssize(out_);
  const std::int64_t first = static_cast<std::int64_t>(summand) * heads;
  const Tensor results = results_.Rows(tokens);
  const Tensor result = kernels::MakeTensor(of_one_head_.Rows(tokens).data, latents.dtype, tokens,
                                            config_.v_head_dim);
  for (std::int64_t h = 0; h < heads; ++h) {
    const Head& head = heads_[static_cast<std::size_t>(first + h)];
    backend_.Linear(OfHead(latents, first + h), *head.value, result);
    PutColumns(result, h * config_.v_head_dim, results);
  }
  return results;
}

void Mla::Run(const Tensor& x, const kernels::BatchView& batch, const kernels::KvLayer& kv,
              const Tensor& partial) {
  const Tensor q = Queries(x);
  WriteKeys(x, batch, kv);
  const kernels::LatentQueries queries = Absorb(q, batch);
  const Tensor latents = ByHead(attended_, std::ssize(heads_), x.dim(0));
  kernels::AttendLatents(queries, batch, kv, config_.score_scale, latents, backend_);
  sum_.Write(partial, [&](std::size_t summand, const Tensor& to) {
    backend_.Linear(Values(summand, latents), *out_[summand], to);
  });
}

std::int64_t Mla::bytes() const {
  std::size_t bytes = q_->bytes() + kv_a_->bytes() + kv_a_norm_.bytes();
  if (q_a_ != nullptr) bytes += q_a_->bytes() + q_a_norm_.bytes();
  for (const auto& out : out_) bytes += out->bytes();
  for (const Head& head : heads_) bytes += head.absorb->bytes() + head.value->bytes();
  return static_cast<std::int64_t>(bytes);
}

}  // namespace thinkwire::worker::model
