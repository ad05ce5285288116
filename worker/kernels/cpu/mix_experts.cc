#include <cstring>
#include <memory>
#include <vector>

#include "worker/kernels/check.h"
#include "worker/kernels/cpu/cpu_backend.h"

// An expert multiplies the rows of the tokens that chose it, and one that nobody chose is not read.
namespace thinkwire::worker::kernels {
namespace {

class CpuExperts final : public ExpertWeights {
 public:
  struct Expert {
    std::unique_ptr<LinearWeight> gate_up;
    std::unique_ptr<LinearWeight> down;
  };

  CpuExperts(const ExpertShape& shape, Backend& backend)
      : shape_(shape), backend_(backend), experts_(static_cast<std::size_t>(shape.count)) {}

  static const CpuExperts& From(const ExpertWeights& experts) {
    Check(experts.device() == DeviceKind::kCpu, "experts that a CPU's backend made");
    return static_cast<const CpuExperts&>(experts);
  }

  void Set(std::int64_t i, const ExpertSlices& slices) override {
    Check(slices.gate.rows == shape_.ffn && slices.down.rows == shape_.hidden,
          "experts of one shape");
    const WeightSlice both[] = {slices.gate, slices.up};
    experts_[static_cast<std::size_t>(i)] = {
        backend_.MakeLinear(both, {}, LinearLayout::kGateUp),
        backend_.MakeLinear({&slices.down, 1}, {}, LinearLayout::kPlain)};
  }
  DeviceKind device() const override { return DeviceKind::kCpu; }
  const ExpertShape& shape() const override { return shape_; }
  std::size_t bytes() const override {
    std::size_t bytes = 0;
    for (const Expert& expert : experts_) bytes += expert.gate_up->bytes() + expert.down->bytes();
    return bytes;
  }
  const Expert& at(std::int64_t i) const { return experts_[static_cast<std::size_t>(i)]; }

 private:
  const ExpertShape shape_;
  Backend& backend_;
  std::vector<Expert> experts_;
};

// The tokens that chose an expert, ascending, and its weight for each.
struct Chosen {
  std::vector<std::int32_t> tokens;
  std::vector<float> weights;
};

std::vector<Chosen> ByExpert(const ExpertChoice& choice, const ExpertShape& shape) {
  std::vector<Chosen> by_expert(static_cast<std::size_t>(shape.count));
  const std::int64_t per_token = choice.ids.dim(1);
  for (std::int64_t i = 0; i < choice.ids.size(); ++i) {
    const std::int64_t own = choice.ids.as<std::int32_t>()[i] - shape.first;
    if (own < 0 || own >= shape.count) continue;
    Chosen& chosen = by_expert[static_cast<std::size_t>(own)];
    chosen.tokens.push_back(static_cast<std::int32_t>(i / per_token));
    chosen.weights.push_back(choice.weights.as<float>()[i]);
  }
  return by_expert;
}

void CheckMix(const Tensor& x, const ExpertMix& mix, const ExpertShape& shape, const Tensor& out) {
  Check(x.dim(1) == shape.hidden && out.size() == x.size() && mix.choice.ids.dim(0) == x.dim(0) &&
            mix.choice.weights.size() == mix.choice.ids.size(),
        "x, out are [T, E], ids, weights [T, P]");
  Check(mix.shared.data == nullptr || mix.shared.size() == x.size(), "the shared one is [T, E]");
}

}  // namespace

std::unique_ptr<ExpertWeights> CpuBackend::MakeExperts(const ExpertShape& shape) {
  return std::make_unique<CpuExperts>(shape, *this);
}

void CpuBackend::RouteExperts(const Tensor& x, const LinearWeight& gate, const Routing& routing,
                              const std::int32_t* token_seq, const ExpertChoice& choice) {
  const std::int64_t experts = routing.rule.num_experts;
  Linear(x, gate, routing.logits);
  const float* const bias = routing.bias.as<float>();
  ExpertRouter router(routing.rule, std::vector<float>(bias, bias + experts));
  std::vector<ChosenExpert> chosen(static_cast<std::size_t>(routing.rule.per_token));
  std::int32_t* ids = choice.ids.as<std::int32_t>();
  float* weights = choice.weights.as<float>();
  for (std::int64_t t = 0; t < x.dim(0); ++t) {
    router.Choose(routing.logits.as<float>() + t * experts, chosen);
    for (const ChosenExpert& expert : chosen) {
      *ids++ = token_seq != nullptr && token_seq[t] < 0 ? -1 : expert.id;
      *weights++ = expert.weight;
    }
  }
}

void CpuBackend::MixExperts(const Tensor& x, const ExpertMix& mix, const Tensor& out) {
  const CpuExperts& experts = CpuExperts::From(mix.experts);
  const ExpertShape& shape = experts.shape();
  CheckMix(x, mix, shape, out);
  experts_.resize(static_cast<std::size_t>(x.dim(0) * (2 * shape.hidden + shape.ffn)));
  std::memset(out.data, 0, out.bytes());
  std::vector<Chosen> by_expert = ByExpert(mix.choice, shape);
  for (std::int64_t e = 0; e < shape.count; ++e) {
    Chosen& chosen = by_expert[static_cast<std::size_t>(e)];
    const auto count = static_cast<std::int64_t>(chosen.tokens.size());
    if (count == 0) continue;
    const Tensor inputs = MakeTensor(experts_.data(), DType::kF32, count, shape.hidden);
    const Tensor outputs =
        MakeTensor(experts_.data() + inputs.size(), DType::kF32, count, shape.hidden);
    const Tensor gated =
        MakeTensor(experts_.data() + 2 * inputs.size(), DType::kF32, count, shape.ffn);
    GatherRows(x, MakeTensor(chosen.tokens.data(), DType::kI32, count), inputs);
    GateUpSwiGlu(inputs, *experts.at(e).gate_up, gated);
    Linear(gated, *experts.at(e).down, outputs);
    for (std::int64_t i = 0; i < count; ++i) {
      AddScaled(chosen.weights[static_cast<std::size_t>(i)], outputs.as<float>() + i * shape.hidden,
                out.as<float>() + chosen.tokens[static_cast<std::size_t>(i)] * shape.hidden,
                shape.hidden);
    }
  }
  if (mix.shared.data == nullptr) return;
  AddScaled(1.0F, mix.shared.as<float>(), out.as<float>(), out.size());
}

}  // namespace thinkwire::worker::kernels
