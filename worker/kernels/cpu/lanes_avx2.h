#pragma once

#include <immintrin.h>

#include <cstdint>

namespace thinkwire::worker::kernels {

// The sixteen f32 lanes of row_kernels_impl.h in two AVX registers.
struct Avx2Lanes {
  static constexpr const char* kName = "avx2";
  static constexpr int kTileTokens = 3;
  static constexpr int kTileRows = 2;
  static constexpr int kTokenRows = 8;
  static constexpr int kPackedRows = 2;  // rows of a packed panel in one pass over a token
  static constexpr int kAttentionQueries = 2;
  static constexpr int kAttentionKeyGroups = 2;

  __m256 lo;
  __m256 hi;

  static Avx2Lanes Set(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
  static Avx2Lanes Load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
  static Avx2Lanes LoadFirst(const float* p, int n) {
    float lanes[16] = {};
    for (int i = 0; i < n; ++i) lanes[i] = p[i];
    return Load(lanes);
  }
  static __m256 WidenBf16(const std::uint16_t* p) {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
  }
  static Avx2Lanes LoadBf16(const std::uint16_t* p) { return {WidenBf16(p), WidenBf16(p + 8)}; }
  static void LoadPanelBf16(const std::uint16_t* p, Avx2Lanes* first, Avx2Lanes* second) {
    const __m256i high_half = _mm256_set1_epi32(static_cast<int>(0xFFFF0000U));
    const __m256i a = _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
    const __m256i b = _mm256_load_si256(reinterpret_cast<const __m256i*>(p + 16));
    first->lo = _mm256_castsi256_ps(_mm256_slli_epi32(a, 16));
    first->hi = _mm256_castsi256_ps(_mm256_slli_epi32(b, 16));
    second->lo = _mm256_castsi256_ps(_mm256_and_si256(a, high_half));
    second->hi = _mm256_castsi256_ps(_mm256_and_si256(b, high_half));
  }
  static __m256i PackPair(__m256 first, __m256 second) {
    return _mm256_or_si256(_mm256_srli_epi32(_mm256_castps_si256(first), 16),
                           _mm256_castps_si256(second));
  }
  static void StorePanelBf16(Avx2Lanes first, Avx2Lanes second, std::uint16_t* p) {
    _mm256_store_si256(reinterpret_cast<__m256i*>(p), PackPair(first.lo, second.lo));
    _mm256_store_si256(reinterpret_cast<__m256i*>(p + 16), PackPair(first.hi, second.hi));
  }
  static Avx2Lanes FromInt8(const std::int8_t* p) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)),
            _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8)))};
  }
  static __m256 E4m3Half(__m128i bytes) {
    const __m256i codes = _mm256_cvtepu8_epi32(bytes);
    const __m256i magnitude =
        _mm256_slli_epi32(_mm256_and_si256(codes, _mm256_set1_epi32(0x7F)), 20);
    const __m256i sign = _mm256_slli_epi32(_mm256_srli_epi32(codes, 7), 31);
    const __m256 scaled = _mm256_mul_ps(_mm256_castsi256_ps(magnitude), _mm256_set1_ps(0x1p120F));
    return _mm256_or_ps(scaled, _mm256_castsi256_ps(sign));
  }
  // Of e4m3 numbers, blocks_fp8.h.
  static Avx2Lanes FromE4m3(const std::uint8_t* p) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return {E4m3Half(bytes), E4m3Half(_mm_srli_si128(bytes, 8))};
  }
  static Avx2Lanes FromUint8(const std::uint8_t* p) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return {_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)),
            _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8)))};
  }
  // The exponent's bias is put right by a multiplication, which subnormal ones need as well.
  static Avx2Lanes EightHalves(const std::uint8_t* p) {
    const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    const __m256i bits = _mm256_cvtepu16_epi32(halves);
    const __m256i magnitude = _mm256_and_si256(bits, _mm256_set1_epi32(0x7FFF));
    const __m256i sign = _mm256_slli_epi32(_mm256_xor_si256(bits, magnitude), 16);
    const __m256 scaled = _mm256_mul_ps(_mm256_castsi256_ps(_mm256_slli_epi32(magnitude, 13)),
                                        _mm256_set1_ps(0x1p112F));
    const __m256 eight = _mm256_or_ps(scaled, _mm256_castsi256_ps(sign));
    return {eight, eight};
  }
  struct Words {
    __m256i lo;
    __m256i hi;
  };
  static Words LoadWords(const std::uint8_t* p) {
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 32))};
  }
  static Words ShiftRight(Words words, int by) {
    return {_mm256_srli_epi32(words.lo, by), _mm256_srli_epi32(words.hi, by)};
  }
  static __m256 SixBits(__m256i low, __m256i high) {
    const __m256i nibble = _mm256_and_si256(low, _mm256_set1_epi32(0xF));
    const __m256i upper = _mm256_and_si256(_mm256_slli_epi32(high, 4), _mm256_set1_epi32(0x30));
    const __m256i both = _mm256_or_si256(nibble, upper);
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(both, _mm256_set1_epi32(32)));
  }
  static Avx2Lanes SixBits(Words low, int low_at, Words high, int high_at) {
    const Words below = ShiftRight(low, low_at);
    const Words above = ShiftRight(high, high_at);
    return {SixBits(below.lo, above.lo), SixBits(below.hi, above.hi)};
  }
  static void FromSixBits(Words low, int low_at, Words high, int high_at, Avx2Lanes* first,
                          Avx2Lanes* second) {
    *first = SixBits(low, low_at, high, high_at);
    *second = SixBits(low, low_at + 16, high, high_at + 16);
  }
  static __m256 LookUpHalf(Avx2Lanes table, __m256i indices) {
    const __m256 in_second = _mm256_castsi256_ps(_mm256_slli_epi32(indices, 28));  // to the sign
    return _mm256_blendv_ps(_mm256_permutevar8x32_ps(table.lo, indices),
                            _mm256_permutevar8x32_ps(table.hi, indices), in_second);
  }
  static __m256 Round(__m256 x) {
    const __m256i bits = _mm256_castps_si256(x);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i up = _mm256_add_epi32(_mm256_add_epi32(bits, odd), _mm256_set1_epi32(0x7FFF));
    const __m256i kept = _mm256_set1_epi32(static_cast<int>(0xFFFF0000U));
    return _mm256_castsi256_ps(_mm256_and_si256(up, kept));
  }
  static Avx2Lanes RoundToBf16(Avx2Lanes x) { return {Round(x.lo), Round(x.hi)}; }
  static void RoundNormalToBf16(Avx2Lanes* first, Avx2Lanes* second) {
    *first = RoundToBf16(*first);
    *second = RoundToBf16(*second);
  }
  static void StoreRoundedInPanel(Avx2Lanes first, Avx2Lanes second, std::uint16_t* p) {
    StorePanelBf16(RoundToBf16(first), RoundToBf16(second), p);
  }
  using Table = Avx2Lanes;
  static Table MakeTable(Avx2Lanes values) { return RoundToBf16(values); }
  static Table MakeExactTable(Avx2Lanes values) { return RoundToBf16(values); }
  static Avx2Lanes LookUp(Table table, Words indices) {
    return {LookUpHalf(table, indices.lo), LookUpHalf(table, indices.hi)};
  }
  static void LookUp(Table table, Words words, int at, Avx2Lanes* first, Avx2Lanes* second) {
    *first = LookUp(table, ShiftRight(words, at));
    *second = LookUp(table, ShiftRight(words, at + 16));
  }
  static void LookUpInPanel(Table table, Words words, int at, std::uint16_t* p) {
    StorePanelBf16(LookUp(table, ShiftRight(words, at)), LookUp(table, ShiftRight(words, at + 16)),
                   p);
  }
  void Store(float* p) const {
    _mm256_storeu_ps(p, lo);
    _mm256_storeu_ps(p + 8, hi);
  }
  void StoreFirst(float* p, int n) const {
    float lanes[16];
    Store(lanes);
    for (int i = 0; i < n; ++i) p[i] = lanes[i];
  }

  static Avx2Lanes Fma(Avx2Lanes a, Avx2Lanes b, Avx2Lanes c) {
    return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
  }
  static Avx2Lanes Add(Avx2Lanes a, Avx2Lanes b) {
    return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
  }
  static Avx2Lanes Sub(Avx2Lanes a, Avx2Lanes b) {
    return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
  }
  static Avx2Lanes Mul(Avx2Lanes a, Avx2Lanes b) {
    return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
  }
  static Avx2Lanes Div(Avx2Lanes a, Avx2Lanes b) {
    return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
  }
  static Avx2Lanes Max(Avx2Lanes a, Avx2Lanes b) {
    return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)};
  }
  static Avx2Lanes Min(Avx2Lanes a, Avx2Lanes b) {
    return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)};
  }
  static Avx2Lanes ZeroWhereLess(Avx2Lanes x, Avx2Lanes bound, Avx2Lanes value) {
    return {_mm256_and_ps(_mm256_cmp_ps(x.lo, bound.lo, _CMP_NLT_UQ), value.lo),
            _mm256_and_ps(_mm256_cmp_ps(x.hi, bound.hi, _CMP_NLT_UQ), value.hi)};
  }
  static __m256 Pow2(__m256 z) {
    const __m256i shifted = _mm256_slli_epi32(_mm256_castps_si256(z), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(shifted, _mm256_set1_epi32(0x3F800000)));
  }
  static Avx2Lanes Pow2OfLowBits(Avx2Lanes z) { return {Pow2(z.lo), Pow2(z.hi)}; }

  static void Sum4(const Avx2Lanes* a, float* out) {
    __m128 s[4];
    for (int i = 0; i < 4; ++i) {
      const __m256 half = _mm256_add_ps(a[i].lo, a[i].hi);
      s[i] = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    }
    _MM_TRANSPOSE4_PS(s[0], s[1], s[2], s[3]);
    _mm_storeu_ps(out, _mm_add_ps(_mm_add_ps(s[0], s[2]), _mm_add_ps(s[1], s[3])));
  }
};

}  // namespace thinkwire::worker::kernels
