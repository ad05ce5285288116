#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "worker/kernels/cuda/attention/paged_attention.h"

namespace thinkwire::worker::kernels {

// Device memory that frees itself.
class DeviceArray {
 public:
  // Zeroed.
  explicit DeviceArray(std::size_t bytes);
  ~DeviceArray();
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  void Write(const void* from, std::size_t bytes, std::size_t at = 0);
  void Read(void* to, std::size_t bytes) const;
  void* data() const { return data_; }
  template <class T>
  const T* as() const {
    return static_cast<const T*>(data_);
  }

 private:
  void* data_ = nullptr;
};

struct AttentionShape {
  int heads;
  int kv_heads;
  int block_tokens;
};

// A sequence's tokens in a step. A padded sequence has count 0.
struct StepRows {
  int seq;
  int first;
  int count;
};

// One layer's paged cache on the current device, with random queries, keys and values that depend
// on sequence, position and head alone. Each Step writes what it needs that is not there yet, as a
// server would; all other slots of the cache hold NaN. Blocks and slots are shuffled.
class CudaAttentionLayer {
 public:
  CudaAttentionLayer(const AttentionShape& shape, std::vector<int> lengths,
                     std::int64_t partial_rows = kAttentionPartialRows);

  // bf16 [tokens of rows, H, D]; the step has `padded_tokens` more at its end.
  std::vector<std::uint16_t> Step(const std::vector<StepRows>& rows, int padded_tokens = 0);
  // The same of one sequence from `first` to its end in steps of `chunk` tokens.
  std::vector<std::uint16_t> InChunks(int seq, int chunk);

  // In double precision, for the token at `position`: the result, and what it adds up in magnitude.
  struct Expected {
    std::vector<double> values;      // [H, D]
    std::vector<double> magnitudes;  // [H, D]
  };
  Expected Reference(int seq, int position) const;

  // As in worker/model: 1/sqrt(D).
  static float Scale();
  std::size_t row_elements() const;  // H * D

 private:
  void WriteUpTo(int seq, int length);
  int SlotOf(int seq) const { return static_cast<int>(lengths_.size()) - 1 - seq; }

  const AttentionShape shape_;
  const std::vector<int> lengths_;
  std::vector<int> written_;
  int max_blocks_ = 0;
  int num_blocks_ = 0;
  int num_sms_ = 0;
  std::vector<std::int32_t> block_tables_;
  DeviceArray tables_;
  DeviceArray keys_;
  DeviceArray values_;
  DeviceArray workspace_memory_;
  AttentionWorkspace workspace_;
};

}  // namespace thinkwire::worker::kernels
