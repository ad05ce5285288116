#pragma once

#include <bit>
#include <cstdint>

#include "worker/kernels/block_codes.h"

namespace thinkwire::worker::kernels {

// The sixteen f32 lanes of row_kernels_impl.h in plain C++: the reference for the others, and the
// way out on a machine with neither AVX2 nor AVX-512.
struct PortableLanes {
  static constexpr const char* kName = "portable";
  static constexpr int kTileTokens = 1;
  static constexpr int kTileRows = 2;
  static constexpr int kTokenRows = 4;
  static constexpr int kPackedRows = 2;  // rows of a packed panel in one pass over a token
  static constexpr int kAttentionQueries = 1;
  static constexpr int kAttentionKeyGroups = 1;

  float lane[16];

  template <class F>
  static PortableLanes Make(F f) {
    PortableLanes r;
    for (int i = 0; i < 16; ++i) r.lane[i] = f(i);
    return r;
  }
  static float Widen(std::uint32_t bf16) { return std::bit_cast<float>(bf16 << 16); }

  static PortableLanes Set(float x) {
    return Make([&](int) { return x; });
  }
  static PortableLanes Load(const float* p) {
    return Make([&](int i) { return p[i]; });
  }
  static PortableLanes LoadFirst(const float* p, int n) {
    return Make([&](int i) { return i < n ? p[i] : 0.0F; });
  }
  static PortableLanes LoadBf16(const std::uint16_t* p) {
    return Make([&](int i) { return Widen(p[i]); });
  }
  static void LoadPanelBf16(const std::uint16_t* p, PortableLanes* first, PortableLanes* second) {
    *first = Make([&](int i) { return Widen(p[2 * i]); });
    *second = Make([&](int i) { return Widen(p[2 * i + 1]); });
  }
  static std::uint32_t Bits(float x) { return std::bit_cast<std::uint32_t>(x); }
  static void StorePanelBf16(const PortableLanes& first, const PortableLanes& second,
                             std::uint16_t* p) {
    for (int i = 0; i < 16; ++i) {
      p[2 * i] = static_cast<std::uint16_t>(Bits(first.lane[i]) >> 16);
      p[2 * i + 1] = static_cast<std::uint16_t>(Bits(second.lane[i]) >> 16);
    }
  }
  static PortableLanes FromInt8(const std::int8_t* p) {
    return Make([&](int i) { return static_cast<float>(p[i]); });
  }
  // Of e4m3 numbers, blocks_fp8.h.
  static PortableLanes FromE4m3(const std::uint8_t* p) {
    return Make([&](int i) {
      const float magnitude = std::bit_cast<float>((p[i] & 0x7FU) << 20) * 0x1p120F;
      return std::bit_cast<float>(Bits(magnitude) | (p[i] & 0x80U) << 24);
    });
  }
  static PortableLanes FromUint8(const std::uint8_t* p) {
    return Make([&](int i) { return static_cast<float>(p[i]); });
  }
  static PortableLanes EightHalves(const std::uint8_t* p) {
    return Make([&](int i) { return FloatFromHalf<PortableLanes>(p + i % 8 * 2); });
  }
  struct Words {
    std::uint32_t lane[16];
  };
  static Words LoadWords(const std::uint8_t* p) { return LoadAs<PortableLanes, Words>(p); }
  static Words ShiftRight(Words words, int by) {
    for (std::uint32_t& lane : words.lane) lane >>= by;
    return words;
  }
  static PortableLanes SixBits(const Words& low, int low_at, const Words& high, int high_at) {
    return Make([&](int i) {
      const std::uint32_t upper = high.lane[i] >> high_at & 3U;
      return static_cast<float>((low.lane[i] >> low_at & 0xFU) | upper << 4) - 32.0F;
    });
  }
  static void FromSixBits(const Words& low, int low_at, const Words& high, int high_at,
                          PortableLanes* first, PortableLanes* second) {
    *first = SixBits(low, low_at, high, high_at);
    *second = SixBits(low, low_at + 16, high, high_at + 16);
  }
  static PortableLanes RoundToBf16(const PortableLanes& x) {
    return Make([&](int i) {
      const std::uint32_t bits = Bits(x.lane[i]);
      return std::bit_cast<float>((bits + (bits >> 16 & 1U) + 0x7FFFU) & 0xFFFF0000U);
    });
  }
  static void RoundNormalToBf16(PortableLanes* first, PortableLanes* second) {
    *first = RoundToBf16(*first);
    *second = RoundToBf16(*second);
  }
  static void StoreRoundedInPanel(const PortableLanes& first, const PortableLanes& second,
                                  std::uint16_t* p) {
    StorePanelBf16(RoundToBf16(first), RoundToBf16(second), p);
  }
  using Table = PortableLanes;
  static Table MakeTable(const PortableLanes& values) { return RoundToBf16(values); }
  static Table MakeExactTable(const PortableLanes& values) { return RoundToBf16(values); }
  static PortableLanes LookUp(const Table& table, const Words& words, int at) {
    return Make([&](int i) { return table.lane[words.lane[i] >> at & 0xFU]; });
  }
  static void LookUp(const Table& table, const Words& words, int at, PortableLanes* first,
                     PortableLanes* second) {
    *first = LookUp(table, words, at);
    *second = LookUp(table, words, at + 16);
  }
  static void LookUpInPanel(const Table& table, const Words& words, int at, std::uint16_t* p) {
    StorePanelBf16(LookUp(table, words, at), LookUp(table, words, at + 16), p);
  }
  void Store(float* p) const { StoreFirst(p, 16); }
  void StoreFirst(float* p, int n) const {
    for (int i = 0; i < n; ++i) p[i] = lane[i];
  }

  static PortableLanes Fma(const PortableLanes& a, const PortableLanes& b, const PortableLanes& c) {
    return Make([&](int i) { return __builtin_fmaf(a.lane[i], b.lane[i], c.lane[i]); });
  }
  static PortableLanes Add(const PortableLanes& a, const PortableLanes& b) {
    return Make([&](int i) { return a.lane[i] + b.lane[i]; });
  }
  static PortableLanes Sub(const PortableLanes& a, const PortableLanes& b) {
    return Make([&](int i) { return a.lane[i] - b.lane[i]; });
  }
  static PortableLanes Mul(const PortableLanes& a, const PortableLanes& b) {
    return Make([&](int i) { return a.lane[i] * b.lane[i]; });
  }
  static PortableLanes Div(const PortableLanes& a, const PortableLanes& b) {
    return Make([&](int i) { return a.lane[i] / b.lane[i]; });
  }
  static PortableLanes Max(const PortableLanes& a, const PortableLanes& b) {
    return Make([&](int i) { return a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; });
  }
  static PortableLanes Min(const PortableLanes& a, const PortableLanes& b) {
    return Make([&](int i) { return a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]; });
  }
  static PortableLanes ZeroWhereLess(const PortableLanes& x, const PortableLanes& bound,
                                     const PortableLanes& value) {
    return Make([&](int i) { return x.lane[i] < bound.lane[i] ? 0.0F : value.lane[i]; });
  }
  static PortableLanes Pow2OfLowBits(const PortableLanes& z) {
    return Make([&](int i) {
      return std::bit_cast<float>((std::bit_cast<std::uint32_t>(z.lane[i]) << 23) + 0x3F800000U);
    });
  }

  static void Sum4(const PortableLanes* a, float* out) {
    for (int i = 0; i < 4; ++i) {
      PortableLanes s = a[i];
      for (int width = 8; width > 0; width /= 2) {
        for (int j = 0; j < width; ++j) s.lane[j] += s.lane[j + width];
      }
      out[i] = s.lane[0];
    }
  }
};

}  // namespace thinkwire::worker::kernels
