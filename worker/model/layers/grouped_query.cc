#include "worker/model/layers/grouped_query.h"

#include <cmath>

namespace thinkwire::worker::model {
namespace {

using kernels::Tensor;

// Rows of heads side by side, as heads.
Tensor Heads(const Tensor& flat, std::int64_t num_heads, std::int64_t head_dim) {
  return kernels::MakeTensor(flat.data, flat.dtype, flat.dim(0), num_heads, head_dim);
}

}  // namespace

GroupedQuery::GroupedQuery(const PartPlan& part, const PartPlace& place)
    : backend_(place.load.backend),
      rope_(place.rope),
      num_heads_(place.load.shape.of(Division::kQueryHeads).count),
      head_dim_(place.load.shape.of(Division::kQueryHeads).unit),
      scale_(1.0F / std::sqrt(static_cast<float>(head_dim_))),
      qkv_(LoadLinear(part.weights[0], place.load)),
      out_(LoadLinear(part.weights[1], place.load)),
      q_(place.scratch.Get("queries", num_heads_ * head_dim_)),
      attended_(place.scratch.Get("attended", num_heads_ * head_dim_)) {}

void GroupedQuery::Run(const Tensor& x, const kernels::BatchView& batch, const kernels::KvLayer& kv,
                       const Tensor& partial) {
  const Tensor attended = attended_.Rows(x.dim(0));
  const Tensor q = Heads(q_.Rows(x.dim(0)), num_heads_, head_dim_);
  backend_.QkvRopeWriteKv(x, *qkv_, rope_, batch, kv, q);
  backend_.PagedAttention(q, batch, kv, scale_, Heads(attended, num_heads_, head_dim_));
  backend_.Linear(attended, *out_, partial);
}

std::int64_t GroupedQuery::bytes() const {
  return static_cast<std::int64_t>(qkv_->bytes() + out_->bytes());
}

}  // namespace thinkwire::worker::model
