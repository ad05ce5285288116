#include "tests/worker/kernels/op_testing.h"

#include "worker/kernels/convert.h"

namespace thinkwire::worker::kernels {

std::vector<float> RandomFloats(std::int64_t n, std::uint32_t seed, float scale) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0.0F, scale);
  std::vector<float> x(static_cast<std::size_t>(n));
  for (float& value : x) value = normal(engine);
  return x;
}

std::vector<float> RandomBf16Floats(std::int64_t n, std::uint32_t seed, float scale) {
  std::vector<float> x = RandomFloats(n, seed, scale);
  for (float& value : x) value = F32FromBf16(Bf16FromF32(value));
  return x;
}

std::vector<std::uint16_t> ToBf16(const std::vector<float>& x) {
  std::vector<std::uint16_t> y;
  for (const float value : x) y.push_back(Bf16FromF32(value));
  return y;
}

std::vector<BackendCase> BackendCases() {
  std::vector<BackendCase> cases;
  for (const Isa isa : {Isa::kPortable, Isa::kAvx2, Isa::kAvx512}) {
    if (!IsSupported(isa)) continue;
    for (const int threads : {1, 2, 4}) cases.push_back({isa, threads});
  }
  return cases;
}

std::string NameOf(const BackendCase& c) {
  return std::string(RowKernelsFor(c.isa).name) + "_" + std::to_string(c.threads);
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace thinkwire::worker::kernels
