#include <cuda_runtime_api.h>

#include <algorithm>

#include "tests/worker/kernels/paged_layer.h"
#include "worker/kernels/cuda/attention/paged_attention.h"
#include "worker/kernels/cuda/device/cuda_check.h"

// What no op shows: attention that finds no room for its partial results, and prefill's two
// kernels.
namespace thinkwire::worker::kernels {
namespace {

// Sequences of a step, padded ones included.
constexpr int kMostStepRows = 256;

class CudaPagedAttention : public OpTest {
 protected:
  // Attention by the kernels themselves, with room for `partial_rows` partial results.
  PagedLayer::Attend WithRoomFor(std::int64_t partial_rows, int kv_heads) {
    memory_ = device().Allocate(AttentionWorkspaceBytes(kMostStepRows, kv_heads, partial_rows));
    device().Synchronize();
    workspace_ = MakeAttentionWorkspace(memory_.data(), kMostStepRows, kv_heads, partial_rows);
    int num_sms = 0;
    CUDA_CHECK(cudaDeviceGetAttribute(&num_sms, cudaDevAttrMultiProcessorCount, 0));
    auto* const stream = static_cast<cudaStream_t>(device().ShareStream());
    return By(num_sms, stream);
  }
  // The same by the kernel for devices without wgmma.
  PagedLayer::Attend WithoutWgmma(int kv_heads) {
    PagedLayer::Attend attend = WithRoomFor(0, kv_heads);
    workspace_.prefill_by_wgmma = false;
    return attend;
  }

 private:
  PagedLayer::Attend By(int num_sms, cudaStream_t stream) {
    return [this, num_sms, stream](const Tensor& q, const BatchView& batch, const KvLayer& kv,
                                   float scale, const Tensor& out) {
      LaunchPagedAttention(q, batch, kv, scale, out, workspace_, num_sms, stream);
    };
  }

  Buffer memory_;
  AttentionWorkspace workspace_;
};

// Sequences whose partial results find no room are walked by one block a head.
TEST_P(CudaPagedAttention, SameBitsWithoutRoomForPartialResults) {
  AttentionShape shape = {12, 2, 128, 16};
  const std::vector<int> lengths = {700, 30, 515, 129, 1000, 260};
  std::vector<StepRows> rows;
  for (int seq = 0; seq < static_cast<int>(lengths.size()); ++seq) {
    rows.push_back({seq, lengths[static_cast<std::size_t>(seq)] - 1, 1});
  }
  rows.insert(rows.begin() + 4, {0, 0, 0});
  for (const bool fp8 : {false, true}) {
    if (fp8) shape.fp8 = {0.013F, 0.4F};
    const auto expected = PagedLayer(device(), shape, lengths).Step(rows, 1);
    for (const std::int64_t partial_rows : {0, 80, 200}) {
      PagedLayer layer(device(), shape, lengths);
      const PagedLayer::Attend attend = WithRoomFor(partial_rows, shape.kv_heads);
      for (int i = 0; i < 2; ++i) {
        EXPECT_TRUE(SameBits(layer.StepBy(attend, rows, 1), expected))
            << partial_rows << (fp8 ? ", FP8" : "");
      }
    }
  }
}

// Tiles of one, two and three groups of rows, and lengths on both sides of a segment's end.
TEST_P(CudaPagedAttention, PrefillHasTheSameBitsWithAndWithoutWgmma) {
  constexpr KvScales kScales = {0.013F, 0.4F};
  for (const AttentionShape& shape : {AttentionShape{28, 4, 128, 16},
                                      {8, 8, 128, 32},
                                      {28, 4, 128, 16, kScales},
                                      {8, 8, 128, 32, kScales}}) {
    const std::vector<int> lengths = {700, 30, 515, 129, 1200, 260};
    for (const int tokens : {29, 128, 259}) {
      std::vector<StepRows> rows;
      for (int seq = 0; seq < static_cast<int>(lengths.size()); ++seq) {
        const int count = std::min(tokens, lengths[static_cast<std::size_t>(seq)]);
        rows.push_back({seq, lengths[static_cast<std::size_t>(seq)] - count, count});
      }
      PagedLayer by_mma(device(), shape, lengths);
      const auto expected = by_mma.StepBy(WithoutWgmma(shape.kv_heads), rows, 1);
      PagedLayer layer(device(), shape, lengths);
      EXPECT_TRUE(SameBits(layer.Step(rows, 1), expected)) << tokens;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, CudaPagedAttention, testing::ValuesIn(TestedDevices()),
                         DeviceName);

}  // namespace
}  // namespace thinkwire::worker::kernels
