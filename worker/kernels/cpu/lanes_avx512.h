#pragma once

#include <immintrin.h>

#include <bit>
#include <cstdint>

namespace thinkwire::worker::kernels {

// The sixteen f32 lanes of row_kernels_impl.h in one AVX-512 register. With kHasBf16 AVX512_BF16
// rounds.
template <bool kHasBf16>
struct Avx512LanesOf {
  static constexpr const char* kName = kHasBf16 ? "avx512bf16" : "avx512";
  // Tokens and outputs of one pass of the linear kernel; outputs of a pass over one token alone.
  static constexpr int kTileTokens = 3;
  static constexpr int kTileRows = 8;
  static constexpr int kTokenRows = 8;
  static constexpr int kPackedRows = 4;  // rows of a packed panel in one pass over a token
  static constexpr int kAttentionQueries = 4;
  static constexpr int kAttentionKeyGroups = 4;

  __m512 v;

  static Avx512LanesOf Set(float x) { return {_mm512_set1_ps(x)}; }
  static Avx512LanesOf Load(const float* p) { return {_mm512_loadu_ps(p)}; }
  // The first n lanes; the others are 0.
  static Avx512LanesOf LoadFirst(const float* p, int n) {
    return {_mm512_maskz_loadu_ps(static_cast<__mmask16>((1U << n) - 1U), p)};
  }
  // Sixteen bf16 values in order.
  static Avx512LanesOf LoadBf16(const std::uint16_t* p) {
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16))};
  }
  // Thirty-two bf16 values in the panel order of cpu_linear_weight.h.
  static void LoadPanelBf16(const std::uint16_t* p, Avx512LanesOf* first, Avx512LanesOf* second) {
    const __m512i bits = _mm512_load_si512(p);
    first->v = _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16));
    second->v = _mm512_castsi512_ps(_mm512_maskz_mov_epi16(0xAAAAAAAAU, bits));
  }
  // The other way round, of values that bf16 holds.
  static void StorePanelBf16(Avx512LanesOf first, Avx512LanesOf second, std::uint16_t* p) {
    const __m512i low = _mm512_srli_epi32(_mm512_castps_si512(first.v), 16);
    _mm512_store_si512(p, _mm512_or_si512(low, _mm512_castps_si512(second.v)));
  }
  static Avx512LanesOf FromInt8(const std::int8_t* p) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes))};
  }
  // Of e4m3 numbers, blocks_fp8.h.
  static Avx512LanesOf FromE4m3(const std::uint8_t* p) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    const __m512i codes = _mm512_cvtepu8_epi32(bytes);
    const __m512i magnitude =
        _mm512_slli_epi32(_mm512_and_si512(codes, _mm512_set1_epi32(0x7F)), 20);
    const __m512i sign = _mm512_slli_epi32(_mm512_srli_epi32(codes, 7), 31);
    const __m512 scaled = _mm512_mul_ps(_mm512_castsi512_ps(magnitude), _mm512_set1_ps(0x1p120F));
    return {_mm512_castsi512_ps(_mm512_or_si512(_mm512_castps_si512(scaled), sign))};
  }
  static Avx512LanesOf FromUint8(const std::uint8_t* p) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return {_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes))};
  }
  // Eight finite f16 values, twice.
  static Avx512LanesOf EightHalves(const std::uint8_t* p) {
    const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return {_mm512_cvtph_ps(_mm256_broadcastsi128_si256(halves))};
  }
  using Words = __m512i;  // sixteen of 32 bits
  static Words LoadWords(const std::uint8_t* p) { return _mm512_loadu_si512(p); }
  static Words ShiftRight(Words words, int by) {
    return _mm512_srlv_epi32(words, _mm512_set1_epi32(by));
  }
  // bf16 of -32 to 31.
  struct SixBitValues {
    alignas(64) std::uint16_t bits[64];
  };
  static constexpr SixBitValues kSixBitValues = [] {
    SixBitValues values{};
    for (int i = 0; i < 64; ++i) {
      const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(i - 32));
      values.bits[i] = static_cast<std::uint16_t>(bits >> 16);
    }
    return values;
  }();
  // Of each word four bits of `low` from the one of number `low_at` on, above them two of `high`,
  // less 32; `second` likewise from 16 bits above.
  static void FromSixBits(Words low, int low_at, Words high, int high_at, Avx512LanesOf* first,
                          Avx512LanesOf* second) {
    const __m512i nibbles = _mm512_set1_epi16(0xF);
    const __m512i upper = _mm512_rorv_epi32(high, _mm512_set1_epi32((high_at - 4) & 31));
    constexpr int kWhereMaskElseOther = 0xCA;
    const __m512i index =  // in its six lowest bits
        _mm512_ternarylogic_epi32(nibbles, ShiftRight(low, low_at), upper, kWhereMaskElseOther);
    const __m512i both = _mm512_permutex2var_epi16(_mm512_load_si512(kSixBitValues.bits), index,
                                                   _mm512_load_si512(kSixBitValues.bits + 32));
    first->v = _mm512_castsi512_ps(_mm512_slli_epi32(both, 16));
    second->v = _mm512_castsi512_ps(_mm512_maskz_mov_epi16(0xAAAAAAAAU, both));
  }
  // To the nearest value that bf16 holds, ties to even; of finite values.
  static Avx512LanesOf RoundToBf16(Avx512LanesOf x) {
    const __m512i bits = _mm512_castps_si512(x.v);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i up = _mm512_add_epi32(_mm512_add_epi32(bits, odd), _mm512_set1_epi32(0x7FFF));
    const __m512i kept = _mm512_set1_epi32(static_cast<int>(0xFFFF0000U));
    return {_mm512_castsi512_ps(_mm512_and_si512(up, kept))};
  }
  // Thirty-two bf16 values: those of the lanes of `first`, then those of `second`.
  static __m512i NativeBf16(Avx512LanesOf first, Avx512LanesOf second) {
    return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(second.v, first.v));
  }
  // Elements `from` to `from` + 15 of bf16 values as lanes.
  static Avx512LanesOf WidenFrom(__m512i values, int from) {
    const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i index = _mm512_slli_epi32(_mm512_add_epi32(lane, _mm512_set1_epi32(from)), 16);
    return {_mm512_castsi512_ps(_mm512_maskz_permutexvar_epi16(0xAAAAAAAAU, index, values))};
  }
  // As RoundToBf16 both, of values that bf16 holds as normal ones or 0.
  static void RoundNormalToBf16(Avx512LanesOf* first, Avx512LanesOf* second) {
    if constexpr (kHasBf16) {
      const __m512i values = NativeBf16(*first, *second);
      *first = WidenFrom(values, 0);
      *second = WidenFrom(values, 16);
    } else {
      *first = RoundToBf16(*first);
      *second = RoundToBf16(*second);
    }
  }
  // As StorePanelBf16 of such values once rounded.
  static void StoreRoundedInPanel(Avx512LanesOf first, Avx512LanesOf second, std::uint16_t* p) {
    if constexpr (kHasBf16) {
      const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
      const __m512i above = _mm512_slli_epi32(_mm512_add_epi32(lane, _mm512_set1_epi32(16)), 16);
      const __m512i in_turn = _mm512_or_si512(lane, above);
      _mm512_store_si512(p, _mm512_permutexvar_epi16(in_turn, NativeBf16(first, second)));
    } else {
      StorePanelBf16(RoundToBf16(first), RoundToBf16(second), p);
    }
  }
  // Sixteen values to look up, rounded as RoundNormalToBf16 does: bf16, twice, or f32.
  using Table = __m512i;
  static Table MakeTable(Avx512LanesOf values) {
    if constexpr (kHasBf16) {
      return NativeBf16(values, values);
    } else {
      return _mm512_castps_si512(RoundToBf16(values).v);
    }
  }
  // Rounded as RoundToBf16 does.
  static Table MakeExactTable(Avx512LanesOf values) {
    const __m512i bits = _mm512_castps_si512(RoundToBf16(values).v);
    if constexpr (kHasBf16) {
      const __m256i once = _mm512_cvtepi32_epi16(_mm512_srli_epi32(bits, 16));
      return _mm512_broadcast_i64x4(once);
    } else {
      return bits;
    }
  }
  // Lane j of `first` is the value that bits `at` to `at` + 3 of word j name, of `second` that of
  // 16 bits above.
  static void LookUp(Table table, Words words, int at, Avx512LanesOf* first,
                     Avx512LanesOf* second) {
    const Words index = ShiftRight(words, at);
    if constexpr (kHasBf16) {
      const __m512i both = _mm512_permutexvar_epi16(index, table);
      first->v = _mm512_castsi512_ps(_mm512_slli_epi32(both, 16));
      second->v = _mm512_castsi512_ps(_mm512_maskz_mov_epi16(0xAAAAAAAAU, both));
    } else {
      const __m512 values = _mm512_castsi512_ps(table);
      first->v = _mm512_permutexvar_ps(index, values);
      second->v = _mm512_permutexvar_ps(ShiftRight(words, at + 16), values);
    }
  }
  // As StorePanelBf16 of both.
  static void LookUpInPanel(Table table, Words words, int at, std::uint16_t* p) {
    if constexpr (kHasBf16) {
      _mm512_store_si512(p, _mm512_permutexvar_epi16(ShiftRight(words, at), table));
    } else {
      Avx512LanesOf first;
      Avx512LanesOf second;
      LookUp(table, words, at, &first, &second);
      StorePanelBf16(first, second, p);
    }
  }
  void Store(float* p) const { _mm512_storeu_ps(p, v); }
  void StoreFirst(float* p, int n) const {
    _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1U << n) - 1U), v);
  }

  // a * b + c, rounded once.
  static Avx512LanesOf Fma(Avx512LanesOf a, Avx512LanesOf b, Avx512LanesOf c) {
    return {_mm512_fmadd_ps(a.v, b.v, c.v)};
  }
  static Avx512LanesOf Add(Avx512LanesOf a, Avx512LanesOf b) { return {_mm512_add_ps(a.v, b.v)}; }
  static Avx512LanesOf Sub(Avx512LanesOf a, Avx512LanesOf b) { return {_mm512_sub_ps(a.v, b.v)}; }
  static Avx512LanesOf Mul(Avx512LanesOf a, Avx512LanesOf b) { return {_mm512_mul_ps(a.v, b.v)}; }
  static Avx512LanesOf Div(Avx512LanesOf a, Avx512LanesOf b) { return {_mm512_div_ps(a.v, b.v)}; }
  // a > b ? a : b and a < b ? a : b: b where either is NaN.
  static Avx512LanesOf Max(Avx512LanesOf a, Avx512LanesOf b) { return {_mm512_max_ps(a.v, b.v)}; }
  static Avx512LanesOf Min(Avx512LanesOf a, Avx512LanesOf b) { return {_mm512_min_ps(a.v, b.v)}; }
  // x < bound ? 0 : value.
  static Avx512LanesOf ZeroWhereLess(Avx512LanesOf x, Avx512LanesOf bound, Avx512LanesOf value) {
    return {_mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x.v, bound.v, _CMP_NLT_UQ), value.v)};
  }
  // 2^n as f32, where the f32 bits of z end in the integer n, -126 <= n <= 127.
  static Avx512LanesOf Pow2OfLowBits(Avx512LanesOf z) {
    const __m512i shifted = _mm512_slli_epi32(_mm512_castps_si512(z.v), 23);
    return {_mm512_castsi512_ps(_mm512_add_epi32(shifted, _mm512_set1_epi32(0x3F800000)))};
  }

  // Eight lanes: lane j + lane j + 8.
  static __m256 Halve(Avx512LanesOf a) {
    return _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  }
  // out[i] = the lane tree's sum of a[i].
  static void Sum4(const Avx512LanesOf* a, float* out) {
    __m128 s[4];
    for (int i = 0; i < 4; ++i) {
      const __m256 half = Halve(a[i]);
      s[i] = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    }
    _MM_TRANSPOSE4_PS(s[0], s[1], s[2], s[3]);
    _mm_storeu_ps(out, _mm_add_ps(_mm_add_ps(s[0], s[2]), _mm_add_ps(s[1], s[3])));
  }
};

}  // namespace thinkwire::worker::kernels
