#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "worker/kernels/check.h"
#include "worker/kernels/cpu/cpu_backend.h"
#include "worker/kernels/cpu/draw_order.h"
#include "worker/kernels/draw_phase.h"
#include "worker/kernels/noise.h"

// Draws one id a row. The formula that every device reproduces, over x = logits[0 .. vocab_size):
//   x holds a NaN or infinity: not_finite = 1, id 0, logprob 0.
//   weight(e) = floor(e * 2^40), summed as 64-bit integers: the order of addition does not matter.
//   logprob   = (x_id - max x) - log(sum of weight(exp(x_i - max x)) / 2^40).
//   temperature 0, or so small that max x / temperature overflows: id = first of the greatest x.
//   t_i = x_i / temperature + 0;  e_i = exp(t_i - max t);
//   order: greater t first, then the lower id. Kept is a prefix of it, cut by:
//     top_k > 0: its first top_k ids;
//     top_p < 1: the shortest prefix whose weights sum to at least floor(top_p * W), with W the
//                weight of what top_k left, product in f64; at least one id;
//   and of that prefix the ids with e_i >= min_p.
//   id = the kept id of greatest t_i + gumbel(philox(seed; id, position, output index, 0)[0]), the
//        lowest of equals.
// exp is that of exp.h; log and gumbel are those of noise.h.
namespace thinkwire::worker::kernels {
namespace {

// The row's t and e, and buckets by distance from the maximum: every member of a bucket comes
// before every member of the next.
class Candidates {
 public:
  Candidates(const float* t, const float* e, std::int64_t n, float max)
      : t_(t), e_(e), n_(n), max_(max), count_(kBuckets), weight_(kBuckets) {
    for (std::int64_t i = 0; i < n; ++i) {
      const auto b = BucketOf(t[i]);
      ++count_[b];
      weight_[b] += WeightOf(e[i]);
    }
  }

  // Key of the last id that top_k and top_p keep.
  std::uint64_t Pivot(std::int32_t top_k, float top_p) const {
    std::uint64_t pivot = 0;
    if (top_k > 0 && top_k < n_) pivot = KthKey(top_k);
    return top_p < 1.0F ? MassKey(top_p, pivot) : pivot;
  }

 private:
  static constexpr std::size_t kBuckets = 2048;

  std::size_t BucketOf(float t) const {
    return static_cast<std::size_t>(std::min((max_ - t) * 16.0F, 2047.0F));
  }

  // Keys of bucket b from `least` up, in order.
  std::vector<std::uint64_t> KeysOf(std::size_t b, std::uint64_t least) const {
    std::vector<std::uint64_t> keys;
    for (std::int64_t i = 0; i < n_; ++i) {
      if (BucketOf(t_[i]) != b) continue;
      const std::uint64_t key = KeyOf(t_[i], static_cast<std::uint32_t>(i));
      if (key >= least) keys.push_back(key);
    }
    std::sort(keys.begin(), keys.end(), std::greater<>());
    return keys;
  }

  std::uint64_t KthKey(std::int64_t k) const {
    std::size_t b = 0;
    for (; k > count_[b]; ++b) k -= count_[b];
    return KeysOf(b, 0)[static_cast<std::size_t>(k - 1)];
  }

  std::uint64_t MassKey(float top_p, std::uint64_t least) const {
    // Weight of each bucket's part that top_k left; the last such bucket may be cut.
    const std::size_t last = least == 0 ? kBuckets - 1 : BucketOf(t_[IdOf(least)]);
    std::int64_t total = 0;
    for (std::size_t b = 0; b < last; ++b) total += weight_[b];
    if (least == 0) {
      total += weight_[last];
    } else {
      for (const std::uint64_t key : KeysOf(last, least)) total += WeightOf(e_[IdOf(key)]);
    }
    const auto target =
        static_cast<std::int64_t>(static_cast<double>(top_p) * static_cast<double>(total));
    std::int64_t sum = 0;
    std::size_t b = 0;
    for (; b < last && sum + weight_[b] < target; ++b) sum += weight_[b];
    std::uint64_t pivot = least;
    for (const std::uint64_t key : KeysOf(b, least)) {
      pivot = key;
      sum += WeightOf(e_[IdOf(key)]);
      if (sum >= target) break;
    }
    return pivot;
  }

  const float* const t_;
  const float* const e_;
  const std::int64_t n_;
  const float max_;
  std::vector<std::int64_t> count_;
  std::vector<std::int64_t> weight_;
};

// The id of greatest t + noise among those from `pivot` up with e >= min_p. e is read only if
// min_p is above 0.
std::int64_t Draw(const float* t, const float* e, std::int64_t n, std::uint64_t pivot, float min_p,
                  const step::SamplingParams& slot, std::int32_t position) {
  const std::array<std::uint32_t, 2> key = {static_cast<std::uint32_t>(slot.seed),
                                            static_cast<std::uint32_t>(slot.seed >> 32)};
  float best = -INFINITY;
  std::int64_t best_id = -1;
  for (std::int64_t i = 0; i < n; ++i) {
    // What cannot win needs no noise.
    if (best_id >= 0 && t[i] + kMaxGumbel <= best) continue;
    const auto id = static_cast<std::uint32_t>(i);
    if (pivot != 0 && KeyOf(t[i], id) < pivot) continue;
    if (min_p > 0.0F && !(e[i] >= min_p)) continue;
    const auto words =
        Philox4x32({id, static_cast<std::uint32_t>(position), slot.output_index, 0}, key);
    const float score = t[i] + GumbelOf(words[0]);
    if (best_id < 0 || score > best) {
      best = score;
      best_id = i;
    }
  }
  return best_id;
}

// Scratch t and e hold n floats each.
std::int64_t DrawRow(const RowKernels& rows, const float* x, std::int64_t n, std::int64_t greatest,
                     const step::SamplingParams& slot, step::Phase phase, std::int32_t position,
                     float* t, float* e) {
  const step::PhaseSampling& sampling = slot.phases[phase];
  const float temperature = sampling.temperature;
  const float max = x[greatest] / temperature + 0.0F;
  if (temperature == 0.0F || !std::isfinite(max)) return greatest;
  rows.divide(x, temperature, t, n);
  for (std::int64_t i = 0; i < n; ++i) t[i] += 0.0F;
  const float min_p = sampling.min_p;
  const bool cut = sampling.top_k > 0 || sampling.top_p < 1.0F;
  if (cut || min_p > 0.0F) rows.exp_minus(t, max, e, n);
  std::uint64_t pivot = 0;
  if (cut) pivot = Candidates(t, e, n, max).Pivot(sampling.top_k, sampling.top_p);
  return Draw(t, e, n, pivot, min_p, slot, position);
}

}  // namespace

void CpuBackend::Draw(const Tensor& logits, const DrawView& view, const Tensor& ids,
                      const Tensor& logprobs, const Tensor& not_finite, const Tensor& last_drawn) {
  const std::int64_t width = logits.dim(1);
  const std::int64_t n = view.vocab_size;
  Check(logits.rank == 2 && logits.dtype == DType::kF32 && logits.dim(0) >= view.num_rows,
        "logits are f32 [L, V]");
  Check(n > 0 && n <= width, "the vocabulary is within the logits' columns");
  sampling_.resize(static_cast<std::size_t>(2 * n * pool_.num_threads()));
  pool_.For(view.num_rows, 1, [&](std::int64_t begin, std::int64_t end, int thread) {
    float* const t = sampling_.data() + 2 * n * thread;
    float* const e = t + n;
    for (std::int64_t l = begin; l < end; ++l) {
      const std::int32_t slot_index = view.slots[l];
      if (slot_index < 0) continue;
      const float* const x = logits.as<float>() + l * width;
      std::int64_t id = 0;
      float logprob = 0.0F;
      const bool finite = AllFinite(x, n);
      if (finite) {
        const std::int64_t greatest = FirstGreatest(x, n);
        const step::SamplingParams& slot = view.slot_sampling[slot_index];
        const step::Phase phase = PhaseOf(view, l, slot);
        id = DrawRow(rows_, x, n, greatest, slot, phase, view.positions[l], t, e);
        rows_.exp_minus(x, x[greatest], e, n);
        logprob = (x[id] - x[greatest]) - LogSum(e, n);
      }
      ids.as<std::int32_t>()[l] = static_cast<std::int32_t>(id);
      logprobs.as<float>()[l] = logprob;
      not_finite.as<std::int32_t>()[l] = finite ? 0 : 1;
      if (IsLastOfSlot(view, l)) {
        last_drawn.as<std::int32_t>()[slot_index] = static_cast<std::int32_t>(id);
      }
    }
  });
}

}  // namespace thinkwire::worker::kernels
