// Ops of the CUDA backend against their CPU twins, and against themselves with other tokens beside.

#include "worker/kernels/cuda/cuda_backend.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/worker/kernels/op_testing.h"
#include "worker/kernels/convert.h"
#include "worker/kernels/cuda/attention/kv_block.cuh"
#include "worker/kernels/cuda/device/cuda_devices.h"

namespace thinkwire::worker::kernels {
namespace {

// Of the magnitudes that an output adds up: a bf16 step where it is rounded once, more where what
// it is computed from was rounded before.
constexpr double kOneRounding = 1.0 / 256;
constexpr double kTwoRoundings = 1.0 / 128;

class CudaBackendTest : public testing::Test {
 protected:
  void SetUp() override {
    if (CountCudaDevices() == 0) {
      GTEST_SKIP() << "CudaBackend needs a CUDA device";
    }
    cuda_ = std::make_unique<CudaBackend>(0);
  }

  // A tensor on the device, poisoned or filled.
  struct OnDevice {
    Buffer buffer;
    Tensor tensor;
  };
  OnDevice Upload(const void* from, DType dtype, std::int64_t rows, std::int64_t cols) {
    const auto bytes = static_cast<std::size_t>(rows * cols) * SizeOf(dtype);
    OnDevice on = {cuda_->Allocate(bytes), {}};
    on.tensor = MakeTensor(on.buffer.data(), dtype, rows, cols);
    cuda_->CopyToDevice(on.buffer.data(), from, bytes);
    cuda_->Synchronize();
    return on;
  }
  OnDevice Bf16(const std::vector<float>& x, std::int64_t rows, std::int64_t cols) {
    return Upload(ToBf16(x).data(), DType::kBf16, rows, cols);
  }
  OnDevice Poisoned(DType dtype, std::int64_t rows, std::int64_t cols) {
    const std::vector<std::uint32_t> poison(static_cast<std::size_t>(rows * cols), 0x7FC17FC1U);
    return Upload(poison.data(), dtype, rows, cols);
  }
  std::vector<float> Download(const OnDevice& on) {
    std::vector<float> values(static_cast<std::size_t>(on.tensor.size()));
    if (on.tensor.dtype == DType::kF32) {
      cuda_->CopyToHost(values.data(), on.tensor.data, on.tensor.bytes());
      cuda_->Synchronize();
      return values;
    }
    std::vector<std::uint16_t> raw(values.size());
    cuda_->CopyToHost(raw.data(), on.tensor.data, on.tensor.bytes());
    cuda_->Synchronize();
    for (std::size_t i = 0; i < raw.size(); ++i) values[i] = F32FromBf16(raw[i]);
    return values;
  }

  std::unique_ptr<CudaBackend> cuda_;
  CpuBackend cpu_{2};
};

// |got - want| <= tolerance * (|want| + magnitude) everywhere.
testing::AssertionResult AllNear(const std::vector<float>& got, const std::vector<float>& want,
                                 double tolerance, double magnitude) {
  if (got.size() != want.size()) return testing::AssertionFailure() << "another size";
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double limit = tolerance * (std::abs(static_cast<double>(want[i])) + magnitude);
    if (!(std::abs(static_cast<double>(got[i]) - want[i]) <= limit)) {
      return testing::AssertionFailure()
             << "element " << i << " is " << got[i] << " instead of " << want[i];
    }
  }
  return testing::AssertionSuccess();
}

// The first rows of `all` are `few`, bit for bit.
testing::AssertionResult StartsWith(const std::vector<float>& all, const std::vector<float>& few) {
  for (std::size_t i = 0; i < few.size(); ++i) {
    if (std::bit_cast<std::uint32_t>(all[i]) != std::bit_cast<std::uint32_t>(few[i])) {
      return testing::AssertionFailure()
             << "element " << i << " is " << few[i] << " among few and " << all[i] << " among many";
    }
  }
  return testing::AssertionSuccess();
}

constexpr int kManyTokens = 130;

struct LinearShape {
  std::int64_t rows;
  std::int64_t columns;
};
// K long enough that every ring of an H100's small products goes round more than once.
constexpr LinearShape kLinearShapes[] = {{8, 8},      {17, 72},     {256, 1536},  {1536, 8960},
                                         {2112, 264}, {4616, 1672}, {4096, 2312}, {8470, 1096}};

TEST_F(CudaBackendTest, IsExactOnThisDevice) {
  EXPECT_EQ(cuda_->capabilities().name.find("inexact"), std::string::npos)
      << cuda_->capabilities().name;
}

TEST_F(CudaBackendTest, LinearsOfAnyNumberOfTokensAgreeWithTheCpuAndEachOther) {
  for (const LinearShape& s : kLinearShapes) {
    const float scale = 1.0F / std::sqrt(static_cast<float>(s.columns));
    const auto w = RandomBf16Floats(s.rows * s.columns, 1, scale);
    const auto x = RandomBf16Floats(kManyTokens * s.columns, 2);
    const WeightSlice slice = SliceOf(w, s.rows, s.columns);
    const auto gpu_weight = cuda_->MakeLinear({&slice, 1}, {}, LinearLayout::kPlain);
    const auto cpu_weight = cpu_.MakeLinear({&slice, 1}, {}, LinearLayout::kPlain);
    F32 cpu_x({kManyTokens, s.columns}, DType::kF32, x);
    F32 want({kManyTokens, s.rows}, DType::kF32);
    cpu_.Linear(cpu_x.tensor, *cpu_weight, want.tensor);

    std::vector<float> many;
    std::vector<float> many_f32;
    for (const int tokens : {kManyTokens, 1, 2, 3, 8, 9, 16, 17, 32, 33, 63, 64, 65}) {
      const std::vector<float> some(x.begin(), x.begin() + tokens * s.columns);
      const OnDevice in = Bf16(some, tokens, s.columns);
      const OnDevice out = Poisoned(DType::kBf16, tokens, s.rows);
      const OnDevice out_f32 = Poisoned(DType::kF32, tokens, s.rows);
      cuda_->Linear(in.tensor, *gpu_weight, out.tensor);
      cuda_->LmHead(in.tensor, *gpu_weight, out_f32.tensor);
      const auto got = Download(out);
      const auto got_f32 = Download(out_f32);
      if (tokens == kManyTokens) {
        many = got;
        many_f32 = got_f32;
        EXPECT_TRUE(AllNear(got, want.values, kOneRounding, 0.01)) << s.rows << "x" << s.columns;
        EXPECT_TRUE(AllNear(got_f32, want.values, 1e-4, 1.0)) << s.rows << "x" << s.columns;
      }
      EXPECT_TRUE(StartsWith(many, got)) << s.rows << "x" << s.columns << ", " << tokens;
      EXPECT_TRUE(StartsWith(many_f32, got_f32)) << s.rows << "x" << s.columns << ", " << tokens;
    }
  }
}

// Whether silu(gate) * up in bf16 is `want` but for three roundings: of the gate, which counts
// |1 + gate (1 - sigmoid(gate))| times (silu's condition number, 6 at gate -7), of up, and of the
// product.
testing::AssertionResult SwiGluNear(const std::vector<float>& got, const std::vector<float>& want,
                                    const std::vector<float>& gate) {
  if (got.size() != want.size()) return testing::AssertionFailure() << "another size";
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double x = gate[i];
    const double condition = std::abs(1.0 + x / (1.0 + std::exp(x)));
    const double magnitude = std::abs(static_cast<double>(want[i])) * (condition + 2.0);
    if (!(std::abs(static_cast<double>(got[i]) - want[i]) <= kOneRounding * (magnitude + 0.02))) {
      return testing::AssertionFailure() << "element " << i << " is " << got[i] << " instead of "
                                         << want[i] << ", its gate " << gate[i];
    }
  }
  return testing::AssertionSuccess();
}

TEST_F(CudaBackendTest, GateUpSwiGluAgreesWithTheCpuAndItself) {
  for (const LinearShape& s :
       {LinearShape{16, 72}, LinearShape{1000, 512}, {2560, 1536}, {4304, 1096}}) {
    const float scale = 1.0F / std::sqrt(static_cast<float>(s.columns));
    const auto gate = RandomBf16Floats(s.rows * s.columns, 1, scale);
    const auto up = RandomBf16Floats(s.rows * s.columns, 2, scale);
    const auto x = RandomBf16Floats(kManyTokens * s.columns, 3, 2.0F);
    const WeightSlice parts[] = {SliceOf(gate, s.rows, s.columns), SliceOf(up, s.rows, s.columns)};
    const auto gpu_weight = cuda_->MakeLinear(parts, {}, LinearLayout::kGateUp);
    const auto cpu_weight = cpu_.MakeLinear(parts, {}, LinearLayout::kGateUp);
    F32 cpu_x({kManyTokens, s.columns}, DType::kF32, x);
    F32 want({kManyTokens, s.rows}, DType::kF32);
    cpu_.GateUpSwiGlu(cpu_x.tensor, *cpu_weight, want.tensor);
    F32 gates({kManyTokens, s.rows}, DType::kF32);
    cpu_.Linear(cpu_x.tensor, *cpu_.MakeLinear({parts, 1}, {}, LinearLayout::kPlain), gates.tensor);
    std::vector<float> many;
    for (const int tokens : {kManyTokens, 1, 2, 8, 9, 16, 17, 33, 64, 65}) {
      const std::vector<float> some(x.begin(), x.begin() + tokens * s.columns);
      const OnDevice in = Bf16(some, tokens, s.columns);
      const OnDevice out = Poisoned(DType::kBf16, tokens, s.rows);
      cuda_->GateUpSwiGlu(in.tensor, *gpu_weight, out.tensor);
      const auto got = Download(out);
      if (tokens == kManyTokens) {
        many = got;
        EXPECT_TRUE(SwiGluNear(got, want.values, gates.values)) << s.rows;
      }
      EXPECT_TRUE(StartsWith(many, got)) << s.rows << ", " << tokens;
    }
  }
}

TEST_F(CudaBackendTest, AddRmsNormAgreesWithTheCpu) {
  for (const std::int64_t width : {8, 264, 1536, 3584, 5120, 8192}) {
    for (const std::int64_t tokens : {1, 3, 70}) {
      const auto partial = RandomBf16Floats(tokens * width, 1);
      const auto residual = RandomBf16Floats(tokens * width, 2, 3.0F);
      const auto weight = RandomBf16Floats(width, 3);
      const WeightSlice slice = SliceOf(weight, width, 1);
      const Buffer gpu_table = cuda_->MakeTable(slice);
      const Buffer cpu_table = cpu_.MakeTable(slice);
      const OnDevice p = Bf16(partial, tokens, width);
      const OnDevice r = Bf16(residual, tokens, width);
      const OnDevice sum = Poisoned(DType::kBf16, tokens, width);
      const OnDevice out = Poisoned(DType::kBf16, tokens, width);
      cuda_->AddRmsNorm({.partial = p.tensor,
                         .residual = r.tensor,
                         .sum = sum.tensor,
                         .weight = MakeTensor(gpu_table.data(), DType::kBf16, width),
                         .eps = 1e-6F,
                         .out = out.tensor});
      F32 cpu_p({tokens, width}, DType::kF32, partial);
      F32 cpu_r({tokens, width}, DType::kF32, residual);
      F32 want({tokens, width}, DType::kF32);
      cpu_.AddRmsNorm({.partial = cpu_p.tensor,
                       .residual = cpu_r.tensor,
                       .sum = cpu_r.tensor,
                       .weight = MakeTensor(cpu_table.data(), DType::kBf16, width),
                       .eps = 1e-6F,
                       .out = want.tensor});
      EXPECT_TRUE(AllNear(Download(sum), cpu_r.values, kOneRounding, 1e-3)) << width;
      EXPECT_TRUE(AllNear(Download(out), want.values, kTwoRoundings, 0.01)) << width;
    }
  }
}

// A product may do a single token's norm itself, unless its sum goes where the residual was.
TEST_F(CudaBackendTest, ANormOnTheWayToAProductChangesNoBit) {
  const LinearShape shapes[] = {{208, 8},     {2048, 1536}, {5008, 264}, {5008, 3584},
                                {8800, 1096}, {704, 8192},  {8800, 5120}};
  for (const LinearShape& s : shapes) {
    const auto w = RandomBf16Floats(s.rows * s.columns, 1, 0.02F);
    const WeightSlice slice = SliceOf(w, s.rows, s.columns);
    WeightSlice halves[] = {slice, slice};
    halves[1].data = w.data() + s.rows / 2 * s.columns;
    halves[0].rows = halves[1].rows = s.rows / 2;
    const auto head = cuda_->MakeLinear({&slice, 1}, {}, LinearLayout::kPlain);
    const auto gate_up = cuda_->MakeLinear(halves, {}, LinearLayout::kGateUp);
    const auto scale = RandomBf16Floats(s.columns, 2);
    const Buffer table = cuda_->MakeTable(SliceOf(scale, s.columns, 1));
    for (const std::int64_t tokens : {1, 2, 3}) {
      // What is left of the norm and each product.
      const auto run = [&](bool in_place, bool adds) {
        const OnDevice partial = Bf16(RandomBf16Floats(tokens * s.columns, 3), tokens, s.columns);
        const OnDevice residual =
            Bf16(RandomBf16Floats(tokens * s.columns, 4, 3.0F), tokens, s.columns);
        const OnDevice elsewhere = Poisoned(DType::kBf16, tokens, s.columns);
        const OnDevice& sum = in_place ? residual : elsewhere;
        const OnDevice x = Poisoned(DType::kBf16, tokens, s.columns);
        const OnDevice again = Poisoned(DType::kBf16, tokens, s.columns);
        const OnDevice logits = Poisoned(DType::kF32, tokens, s.rows);
        const OnDevice gated = Poisoned(DType::kBf16, tokens, s.rows / 2);
        const Tensor weight = MakeTensor(table.data(), DType::kBf16, s.columns);
        if (adds) {
          cuda_->AddRmsNorm({.partial = partial.tensor,
                             .residual = residual.tensor,
                             .sum = sum.tensor,
                             .weight = weight,
                             .eps = 1e-6F,
                             .out = x.tensor});
        } else {
          cuda_->RmsNorm(residual.tensor, weight, 1e-6F, x.tensor);
        }
        if (in_place) cuda_->Synchronize();
        cuda_->LmHead(x.tensor, *head, logits.tensor);
        cuda_->RmsNorm(x.tensor, weight, 1e-6F, again.tensor);
        if (in_place) cuda_->Synchronize();
        cuda_->GateUpSwiGlu(again.tensor, *gate_up, gated.tensor);
        std::vector<float> all = adds ? Download(sum) : std::vector<float>();
        for (const OnDevice* part : {&x, &logits, &again, &gated}) {
          const std::vector<float> values = Download(*part);
          all.insert(all.end(), values.begin(), values.end());
        }
        return all;
      };
      for (const bool adds : {true, false}) {
        const std::vector<float> want = run(true, adds);
        EXPECT_TRUE(StartsWith(want, run(false, adds)))
            << s.rows << "x" << s.columns << ", " << tokens << " tokens";
      }
    }
  }
}

TEST_F(CudaBackendTest, MovesAreExact) {
  const std::int64_t rows = 50;
  const std::int64_t width = 264;
  const auto table = RandomBf16Floats(rows * width, 1);
  const Buffer gpu_table = cuda_->MakeTable(SliceOf(table, rows, width));
  const std::vector<std::int32_t> ids = {49, 0, 7, 7, 12};
  const OnDevice on_ids = Upload(ids.data(), DType::kI32, 1, 5);
  const Tensor flat = MakeTensor(on_ids.tensor.data, DType::kI32, 5);
  const OnDevice out = Poisoned(DType::kBf16, 5, width);
  cuda_->Embed(flat, MakeTensor(gpu_table.data(), DType::kBf16, rows, width), out.tensor);
  const auto got = Download(out);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    for (std::int64_t c = 0; c < width; ++c) {
      ASSERT_EQ(got[i * static_cast<std::size_t>(width) + static_cast<std::size_t>(c)],
                table[static_cast<std::size_t>(ids[i] * width + c)]);
    }
  }

  const std::vector<std::int32_t> index = {3, 0};
  const std::vector<std::int32_t> values = {-5, 9};
  const OnDevice on_index = Upload(index.data(), DType::kI32, 1, 2);
  const OnDevice on_values = Upload(values.data(), DType::kI32, 1, 2);
  const OnDevice target = Upload(ids.data(), DType::kI32, 1, 5);
  cuda_->Scatter(MakeTensor(on_index.tensor.data, DType::kI32, 2),
                 MakeTensor(on_values.tensor.data, DType::kI32, 2),
                 MakeTensor(target.tensor.data, DType::kI32, 5));
  std::vector<std::int32_t> changed(5);
  cuda_->CopyToHost(changed.data(), target.tensor.data, 20);
  cuda_->Synchronize();
  EXPECT_TRUE(changed == (std::vector<std::int32_t>{9, 0, 7, -5, 12}));

  const std::vector<std::int32_t> slots = {-1, 2, -1, 0, 4};
  const OnDevice on_slots = Upload(slots.data(), DType::kI32, 1, 5);
  const OnDevice gathered = Upload(ids.data(), DType::kI32, 1, 5);
  cuda_->GatherInputIds(flat, MakeTensor(on_slots.tensor.data, DType::kI32, 5),
                        MakeTensor(target.tensor.data, DType::kI32, 5),
                        MakeTensor(gathered.tensor.data, DType::kI32, 5));
  cuda_->CopyToHost(changed.data(), gathered.tensor.data, 20);
  cuda_->Synchronize();
  EXPECT_TRUE(changed == (std::vector<std::int32_t>{49, 7, 7, 9, 12}));
}

// q, keys and values of tokens of three sequences, with blocks dealt out in disorder.
TEST_F(CudaBackendTest, QkvRopeWriteKvAgreesWithTheCpuAndItself) {
  constexpr int kHeads = 6;
  constexpr int kKvHeads = 2;
  constexpr int kDim = 128;
  constexpr int kBlock = 16;
  constexpr int kMaxBlocks = 8;
  constexpr int kBlocks = 24;
  constexpr std::int64_t kHidden = 1536;
  constexpr std::int64_t kRows = (kHeads + 2 * kKvHeads) * kDim;
  const auto w = RandomBf16Floats(kRows * kHidden, 1, 0.02F);
  const auto b = RandomBf16Floats(kRows, 2);
  const WeightSlice slice = SliceOf(w, kRows, kHidden);
  const WeightSlice bias = SliceOf(b, kRows, 1);
  const auto gpu_weight = cuda_->MakeLinear({&slice, 1}, {&bias, 1}, LinearLayout::kQkv);
  const auto cpu_weight = cpu_.MakeLinear({&slice, 1}, {&bias, 1}, LinearLayout::kQkv);
  std::vector<float> rope;
  for (int p = 0; p < kBlock * kMaxBlocks; ++p) {
    for (int part = 0; part < 2; ++part) {
      for (int i = 0; i < kDim / 2; ++i) {
        const double angle = p * std::pow(10000.0, -2.0 * i / kDim);
        rope.push_back(static_cast<float>(part == 0 ? std::cos(angle) : std::sin(angle)));
      }
    }
  }
  const OnDevice gpu_rope = Upload(rope.data(), DType::kF32, kBlock * kMaxBlocks, kDim);
  F32 cpu_rope({kBlock * kMaxBlocks, kDim}, DType::kF32, rope);
  std::vector<std::int32_t> tables;
  for (int i = 0; i < 3 * kMaxBlocks; ++i) tables.push_back((i * 7 + 5) % kBlocks);
  const OnDevice gpu_tables = Upload(tables.data(), DType::kI32, 3, kMaxBlocks);
  const auto x = RandomBf16Floats(kManyTokens * kHidden, 3);

  std::vector<float> many_q;
  std::vector<float> many_keys;
  for (const int tokens : {kManyTokens, 1, 2, 8, 9, 17, 33, 64, 65}) {
    std::vector<std::int32_t> positions;
    std::vector<std::int32_t> seqs;
    for (int t = 0; t < tokens; ++t) {
      positions.push_back(t / 3 * 2 + 1);
      seqs.push_back(t % 7 == 5 ? -1 : t % 3);
    }
    const std::vector<std::int32_t> slots = {2, 0, 1};
    const OnDevice on_positions = Upload(positions.data(), DType::kI32, 1, tokens);
    const OnDevice on_seqs = Upload(seqs.data(), DType::kI32, 1, tokens);
    const OnDevice on_slots = Upload(slots.data(), DType::kI32, 1, 3);
    BatchView view = {.num_tokens = tokens, .num_seqs = 3, .max_blocks = kMaxBlocks};
    view.positions = on_positions.tensor.as<std::int32_t>();
    view.token_seq = on_seqs.tensor.as<std::int32_t>();
    view.seq_slot = on_slots.tensor.as<std::int32_t>();
    view.block_tables = gpu_tables.tensor.as<std::int32_t>();
    const OnDevice keys = Poisoned(DType::kBf16, kBlocks, kKvHeads * kBlock * kDim);
    const OnDevice values = Poisoned(DType::kBf16, kBlocks, kKvHeads * kBlock * kDim);
    const OnDevice in =
        Bf16(std::vector<float>(x.begin(), x.begin() + tokens * kHidden), tokens, kHidden);
    const OnDevice q = Poisoned(DType::kBf16, tokens, kHeads * kDim);
    cuda_->QkvRopeWriteKv(in.tensor, *gpu_weight, gpu_rope.tensor, view,
                          {{keys.tensor, values.tensor}, kKvHeads, kBlock, kDim}, q.tensor);
    const auto got_q = Download(q);
    const auto got_keys = Download(keys);
    const auto got_values = Download(values);

    F32 cpu_x({tokens, kHidden}, DType::kF32,
              std::vector<float>(x.begin(), x.begin() + tokens * kHidden));
    F32 cpu_q({tokens, kHeads, kDim}, DType::kF32);
    F32 cpu_keys({kBlocks, kKvHeads * kBlock * kDim}, DType::kF32);
    F32 cpu_values({kBlocks, kKvHeads * kBlock * kDim}, DType::kF32);
    BatchView cpu_view = view;
    cpu_view.positions = positions.data();
    cpu_view.token_seq = seqs.data();
    cpu_view.seq_slot = slots.data();
    cpu_view.block_tables = tables.data();
    cpu_.QkvRopeWriteKv(cpu_x.tensor, *cpu_weight, cpu_rope.tensor, cpu_view,
                        {{cpu_keys.tensor, cpu_values.tensor}, kKvHeads, kBlock, kDim},
                        cpu_q.tensor);
    std::vector<float> token_keys;
    for (int t = 0; t < tokens; ++t) {
      if (seqs[static_cast<std::size_t>(t)] < 0) continue;
      const int slot = slots[static_cast<std::size_t>(seqs[static_cast<std::size_t>(t)])];
      const int position = positions[static_cast<std::size_t>(t)];
      const int block = tables[static_cast<std::size_t>(slot * kMaxBlocks + position / kBlock)];
      const int offset = position % kBlock;
      for (int i = 0; i < kHeads * kDim; ++i) {
        const auto at = static_cast<std::size_t>(t * kHeads * kDim + i);
        ASSERT_NEAR(got_q[at], cpu_q.values[at], 0.06) << t << " " << i;
      }
      for (int h = 0; h < kKvHeads; ++h) {
        for (int i = 0; i < kDim; ++i) {
          const std::int64_t at = KvTokenOffset(block, kKvHeads, h, kBlock, offset) +
                                  KvPiece(i / 8, offset) * 8 + i % 8;
          const std::int64_t base =
              (static_cast<std::int64_t>(block) * kKvHeads + h) * kBlock * kDim;
          token_keys.push_back(got_keys[static_cast<std::size_t>(at)]);
          token_keys.push_back(got_values[static_cast<std::size_t>(at)]);
          ASSERT_NEAR(got_keys[static_cast<std::size_t>(at)], cpu_keys[base + i * kBlock + offset],
                      0.06)
              << t << " " << i;
          ASSERT_NEAR(got_values[static_cast<std::size_t>(at)],
                      cpu_values[base + offset * kDim + i], 0.06)
              << t << " " << i;
        }
      }
    }
    if (tokens == kManyTokens) {
      many_q = got_q;
      many_keys = token_keys;
    }
    for (int t = 0; t < tokens; ++t) {
      if (seqs[static_cast<std::size_t>(t)] < 0) continue;
      for (int i = 0; i < kHeads * kDim; ++i) {
        const auto at = static_cast<std::size_t>(t * kHeads * kDim + i);
        ASSERT_EQ(std::bit_cast<std::uint32_t>(got_q[at]), std::bit_cast<std::uint32_t>(many_q[at]))
            << tokens << " tokens, " << t;
      }
    }
    EXPECT_TRUE(StartsWith(many_keys, token_keys)) << tokens;
  }
}

TEST_F(CudaBackendTest, ARecordingRunsAgainOverTheSameMemory) {
  const auto w = RandomBf16Floats(256 * 256, 1, 0.06F);
  const WeightSlice slice = SliceOf(w, 256, 256);
  const auto weight = cuda_->MakeLinear({&slice, 1}, {}, LinearLayout::kPlain);
  const auto x = RandomBf16Floats(256, 2);
  const OnDevice a = Bf16(x, 1, 256);
  const OnDevice b = Poisoned(DType::kBf16, 1, 256);
  cuda_->Linear(a.tensor, *weight, b.tensor);
  const auto once = Download(b);
  const auto replay = cuda_->Record([&] { cuda_->Linear(a.tensor, *weight, b.tensor); });
  const OnDevice poison = Poisoned(DType::kBf16, 1, 256);
  for (int i = 0; i < 3; ++i) {
    cuda_->CopyOnDevice(b.tensor.data, poison.tensor.data, b.tensor.bytes());
    replay->Run();
    const auto fence = cuda_->MakeFence();
    fence->Record();
    fence->Wait();
    EXPECT_TRUE(StartsWith(once, Download(b)));
  }
}

// From and to pinned memory, short and long, ends that are no multiple of anything.
TEST_F(CudaBackendTest, CopiesMoveTheirBytesAndNoOthers) {
  constexpr std::uint8_t kPoison = 0xA5;
  for (const std::size_t bytes : {3, 4, 8, 12, 16, 100, 4092, 4098, 65536, 65540, 300000}) {
    const std::size_t room = bytes + 64;
    Buffer host = cuda_->AllocateHost(room);
    const Buffer device = cuda_->Allocate(room);
    Buffer back = cuda_->AllocateHost(room);
    auto* const sent = static_cast<std::uint8_t*>(host.data());
    auto* const got = static_cast<std::uint8_t*>(back.data());
    // Twice over the same memory: what the host wrote last is what arrives.
    for (const std::size_t round : {1, 2}) {
      for (std::size_t i = 0; i < room; ++i) sent[i] = static_cast<std::uint8_t>(i * 7 + round);
      std::fill_n(got, room, kPoison);
      cuda_->CopyToDevice(device.data(), sent, bytes);
      cuda_->CopyToHost(got, device.data(), bytes);
      cuda_->Synchronize();
      EXPECT_TRUE(std::equal(sent, sent + bytes, got)) << bytes;
      EXPECT_TRUE(std::all_of(got + bytes, got + room, [](auto b) { return b == kPoison; }));
    }
    cuda_->CopyToHost(got, device.data(), room);
    cuda_->Synchronize();
    EXPECT_TRUE(std::all_of(got + bytes, got + room, [](auto b) { return b == 0; })) << bytes;
  }
}

}  // namespace
}  // namespace thinkwire::worker::kernels
