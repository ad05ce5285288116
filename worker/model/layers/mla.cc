#include "worker/model/layers/mla.h"

#include <cstddef>

#include "common/check.h"

namespace thinkwire::worker::model {
namespace {

using kernels::Tensor;

constexpr float kNormEps = 1e-6F;

// Where the plan has each weight and table (MlaPart).
enum : std::size_t { kQueries, kKeys, kHeads, kResult, kQueryLatents };
enum : std::size_t { kKeyNorm, kQueryNorm };

std::vector<std::unique_ptr<kernels::LinearWeight>> LoadSummed(const PlannedWeight& weight,
                                                               const LoadPlace& place) {
  std::vector<std::unique_ptr<kernels::LinearWeight>> summed;
  for (const RankShape& shape : SummedShapes(place)) {
    summed.push_back(LoadLinear(weight, {shape, place.source, place.backend}));
  }
  return summed;
}

// The rank's heads of kv_b_proj.
std::unique_ptr<kernels::LatentHeads> LoadHeads(const MlaConfig& config,
                                                const PlannedTensor& tensor,
                                                const LoadPlace& place) {
  const Region region = RegionOf(tensor, place.shape);
  const HostSlice rows = place.source.Slice(tensor.spec, region);
  return place.backend.MakeLatentHeads(
      rows.slice, {.heads = region.rows / (config.qk_nope_head_dim + config.v_head_dim),
                   .plain = config.qk_nope_head_dim,
                   .rotated = config.qk_rope_head_dim,
                   .latent = config.kv_lora_rank,
                   .result = config.v_head_dim});
}

bool HasQueryLatents(const PartPlan& part) { return part.weights.size() > kQueryLatents; }

Tensor NormWeight(const kernels::Buffer& weight, std::int64_t width) {
  return kernels::MakeTensor(weight.data(), kernels::DType::kBf16, width);
}

// [T, H, any] of [T, H * any].
Tensor ByHead(const Tensor& rows, std::int64_t heads) {
  return kernels::MakeTensor(rows.data, rows.dtype, rows.dim(0), heads, rows.dim(1) / heads);
}

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
      absorbed_(place.scratch.Get("absorbed", heads_->shape().heads * config.key_dim())),
      attended_(place.scratch.Get("attended_latents", heads_->shape().heads * config.kv_lora_rank)),
      results_(place.scratch.Get("attended", out_[0]->in_features())),
      q_latents_(q_a_ == nullptr ? nullptr : &place.scratch.Get("q_latents", config.q_lora_rank)),
      normed_q_latents_(
          q_a_ == nullptr ? nullptr : &place.scratch.Get("normed_q_latents", config.q_lora_rank)) {
  const std::int64_t heads = heads_->shape().heads;
  CHECK(q_->out_features() == heads * config.qk_head_dim() &&
            std::ssize(out_) * out_[0]->in_features() == heads * config.v_head_dim,
        "a rank's heads are whole");
}

Tensor Mla::Queries(const Tensor& x) {
  const Tensor queries = queries_.Rows(x.dim(0));
  if (q_a_ == nullptr) {
    backend_.Linear(x, *q_, queries);
    return queries;
  }
  const Tensor latents = q_latents_->Rows(x.dim(0));
  const Tensor normed = normed_q_latents_->Rows(x.dim(0));
  backend_.Linear(x, *q_a_, latents);
  backend_.RmsNorm(latents, NormWeight(q_a_norm_, config_.q_lora_rank), kNormEps, normed);
  backend_.Linear(normed, *q_, queries);
  return queries;
}

void Mla::WriteKeys(const Tensor& x, const kernels::BatchView& batch, const kernels::KvLayer& kv) {
  const Tensor keys = keys_.Rows(x.dim(0));
  backend_.Linear(x, *kv_a_, keys);
  backend_.WriteLatents(
      {.rows = keys, .norm = NormWeight(kv_a_norm_, config_.kv_lora_rank), .eps = kNormEps},
      rotation_, batch, kv);
}

Tensor Mla::Attend(const Tensor& q, const kernels::BatchView& batch, const kernels::KvLayer& kv) {
  const std::int64_t heads = heads_->shape().heads;
  const Tensor queries = ByHead(absorbed_.Rows(q.dim(0)), heads);
  const Tensor latents = ByHead(attended_.Rows(q.dim(0)), heads);
  backend_.AbsorbQueries(q, *heads_, rotation_, batch, queries);
  backend_.AttendLatents(queries, batch, kv, config_.score_scale, latents);
  return latents;
}

void Mla::Run(const Tensor& x, const kernels::BatchView& batch, const kernels::KvLayer& kv,
              const Tensor& partial) {
  const Tensor q = Queries(x);
  WriteKeys(x, batch, kv);
  const Tensor latents = Attend(q, batch, kv);
  const Tensor results = results_.Rows(x.dim(0));
  const std::int64_t heads_of_one = results.dim(1) / config_.v_head_dim;
  sum_.Write(partial, [&](std::size_t summand, const Tensor& to) {
    backend_.LatentValues(latents, *heads_, static_cast<std::int64_t>(summand) * heads_of_one,
                          results);
    backend_.Linear(results, *out_[summand], to);
  });
}

std::int64_t Mla::bytes() const {
  std::size_t bytes = q_->bytes() + kv_a_->bytes() + kv_a_norm_.bytes() + heads_->bytes();
  if (q_a_ != nullptr) bytes += q_a_->bytes() + q_a_norm_.bytes();
  for (const auto& out : out_) bytes += out->bytes();
  return static_cast<std::int64_t>(bytes);
}

}  // namespace thinkwire::worker::model
