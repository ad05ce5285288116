#include <algorithm>
#include <array>
#include <cstdint>

#include "worker/kernels/check.h"
#include "worker/kernels/cpu/cpu_backend.h"
#include "worker/kernels/cpu/draw_order.h"

// Log-probabilities of a row as cpu/draw.cc defines logprob, at its own id and at the first ids
// of the order over x + 0 (greater first, then the lower id).
namespace thinkwire::worker::kernels {
namespace {

// The keys of the first `count` <= n ids in order, at the front.
std::array<std::uint64_t, step::kMaxAlternatives> FirstKeys(const float* x, std::int64_t n,
                                                            std::int32_t count) {
  std::array<std::uint64_t, step::kMaxAlternatives> keys =
      {};  // descending; 0 comes after every key
  if (count == 0) return keys;
  const auto last = keys.begin() + count - 1;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint64_t key = KeyOf(x[i] + 0.0F, static_cast<std::uint32_t>(i));
    if (key <= *last) continue;
    const auto place = std::upper_bound(keys.begin(), last, key, std::greater<>());
    std::copy_backward(place, last, last + 1);
    *place = key;
  }
  return keys;
}

}  // namespace

void CpuBackend::Logprobs(const Tensor& logits, const LogprobsView& view) {
  const std::int64_t width = logits.dim(1);
  const std::int64_t n = view.vocab_size;
  Check(logits.rank == 2 && logits.dtype == DType::kF32 && logits.dim(0) >= view.num_rows,
        "logits are f32 [L, V]");
  Check(n > 0 && n <= width, "the vocabulary is within the logits' columns");
  sampling_.resize(static_cast<std::size_t>(2 * n * pool_.num_threads()));
  pool_.For(view.num_rows, 1, [&](std::int64_t begin, std::int64_t end, int thread) {
    float* const e = sampling_.data() + 2 * n * thread;
    for (std::int64_t l = begin; l < end; ++l) {
      const float* const x = logits.as<float>() + l * width;
      if (view.slots[l] < 0 || !AllFinite(x, n)) continue;
      const float max = x[FirstGreatest(x, n)];
      rows_.exp_minus(x, max, e, n);
      const float log_sum = LogSum(e, n);
      view.logprobs[l] = (x[view.ids[l]] - max) - log_sum;
      const std::int32_t count = view.num_alternatives[l];
      const auto keys = FirstKeys(x, n, count);
      for (std::int32_t i = 0; i < count; ++i) {
        const std::uint32_t id = IdOf(keys[static_cast<std::size_t>(i)]);
        view.alternative_ids[l * step::kMaxAlternatives + i] = static_cast<std::int32_t>(id);
        view.alternative_logprobs[l * step::kMaxAlternatives + i] = (x[id] - max) - log_sum;
      }
    }
  });
}

}  // namespace thinkwire::worker::kernels
