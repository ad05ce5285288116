#include "worker/kernels/cpu/cpu_backend.h"

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "worker/kernels/check.h"
#include "worker/kernels/cpu/convert.h"

namespace thinkwire::worker::kernels {
namespace {

constexpr std::size_t kCacheLine = 64;

// The piece of calloc's that holds `data` starts at the address stored just below it.
void FreeAligned(void* data) { std::free(static_cast<void**>(data)[-1]); }

// The slice and the row within it that hold row `row` of the stack.
std::pair<const WeightSlice*, std::int64_t> Find(std::span<const WeightSlice> parts,
                                                 std::int64_t row) {
  for (const WeightSlice& part : parts) {
    if (row < part.rows) return {&part, row};
    row -= part.rows;
  }
  Check(false, "a row is within the stacked parts");
  return {};
}

// Lays eight rows of bf16 [depth_blocks * 32] out as a panel (cpu_linear_weight.h).
void PackPanel(const std::uint16_t* rows, std::int64_t depth_blocks, std::uint16_t* panel) {
  const std::int64_t depth = depth_blocks * kPanelDepth;
  for (std::int64_t b = 0; b < depth_blocks; ++b) {
    for (int r = 0; r < kPanelRows; ++r) {
      const std::uint16_t* from = rows + r * depth + b * kPanelDepth;
      for (int j = 0; j < kPanelDepth / 2; ++j) {
        *panel++ = from[j];
        *panel++ = from[j + kPanelDepth / 2];
      }
    }
  }
}

// Ops are done when they return, and so is all that came before a fence.
class CpuFence final : public Fence {
 public:
  void Record() override {}
  void Wait() override {}
};

class CpuStamp final : public Stamp {
 public:
  void Record() override { time_ = std::chrono::steady_clock::now(); }
  double SecondsSince(const Stamp& earlier) const override {
    const auto since = static_cast<const CpuStamp&>(earlier).time_;
    return std::chrono::duration<double>(time_ - since).count();
  }

 private:
  std::chrono::steady_clock::time_point time_;
};

class CpuReplay final : public Replay {
 public:
  explicit CpuReplay(std::function<void()> ops) : ops_(std::move(ops)) {}
  void Run() override { ops_(); }

 private:
  const std::function<void()> ops_;
};

}  // namespace

CpuBackend::CpuBackend(int num_threads, Isa isa) : rows_(RowKernelsFor(isa)), pool_(num_threads) {}

std::string CpuBackend::name() const {
  const int threads = pool_.num_threads();
  return std::string("cpu ") + rows_.name + " " + std::to_string(threads) +
         (threads == 1 ? " thread" : " threads");
}

Buffer CpuBackend::Allocate(std::size_t bytes) {
  // calloc leaves large pieces to the kernel's zero pages: untouched memory costs nothing.
  void* const piece = std::calloc(1, bytes + kCacheLine + sizeof(void*));
  Check(piece != nullptr, "out of memory");
  const auto first = reinterpret_cast<std::uintptr_t>(piece) + sizeof(void*);
  auto* const data = reinterpret_cast<void**>((first + kCacheLine - 1) / kCacheLine * kCacheLine);
  data[-1] = piece;
  return Buffer(data, bytes, &FreeAligned);
}

void CpuBackend::CopyToDevice(void* device, const void* host, std::size_t bytes) {
  if (bytes > 0) std::memcpy(device, host, bytes);
}
void CpuBackend::CopyToHost(void* host, const void* device, std::size_t bytes) {
  if (bytes > 0) std::memcpy(host, device, bytes);
}
void CpuBackend::CopyOnDevice(void* to, const void* from, std::size_t bytes) {
  if (bytes > 0) std::memmove(to, from, bytes);
}

std::unique_ptr<Fence> CpuBackend::MakeFence() { return std::make_unique<CpuFence>(); }

std::unique_ptr<Stamp> CpuBackend::MakeStamp() { return std::make_unique<CpuStamp>(); }

std::unique_ptr<Replay> CpuBackend::Record(std::function<void()> ops) {
  return std::make_unique<CpuReplay>(std::move(ops));
}

std::unique_ptr<LinearWeight> CpuBackend::MakeLinear(std::span<const WeightSlice> parts,
                                                     std::span<const WeightSlice> bias,
                                                     LinearLayout layout) {
  Check(!parts.empty(), "a linear has at least one part");
  if (layout == LinearLayout::kQkv) layout = LinearLayout::kPlain;  // the order needs no change
  std::int64_t out = 0;
  const std::int64_t in = parts[0].cols;
  for (const WeightSlice& part : parts) {
    Check(part.cols == in, "stacked parts share their columns");
    out += part.rows;
  }
  Check(out > 0 && in > 0, "a linear has rows and columns");
  Check(layout == LinearLayout::kPlain || (parts.size() == 2 && parts[0].rows == parts[1].rows),
        "a gate-up weight has two parts of one shape");

  const std::int64_t num_panels = CpuLinearWeight::NumPanels(layout, out);
  const std::int64_t depth_blocks = (in + kPanelDepth - 1) / kPanelDepth;
  const std::int64_t depth = depth_blocks * kPanelDepth;
  Buffer panels = Allocate(static_cast<std::size_t>(num_panels * kPanelRows * depth) * 2);
  auto* const to = static_cast<std::uint16_t*>(panels.data());
  pool_.For(num_panels, 16, [&](std::int64_t begin, std::int64_t end, int) {
    std::vector<std::uint16_t> rows(static_cast<std::size_t>(kPanelRows * depth));
    for (std::int64_t p = begin; p < end; ++p) {
      std::fill(rows.begin(), rows.end(), std::uint16_t{0});
      for (int r = 0; r < kPanelRows; ++r) {
        const std::int64_t row = CpuLinearWeight::RowOf(layout, out, p, r);
        if (row < 0) continue;
        const auto [part, part_row] = Find(parts, row);
        ConvertRow(*part, part_row, rows.data() + r * depth);
      }
      PackPanel(rows.data(), depth_blocks, to + p * kPanelRows * depth);
    }
  });

  std::vector<float> packed_bias;
  if (!bias.empty()) {
    packed_bias.assign(static_cast<std::size_t>(num_panels * kPanelRows), 0.0F);
    for (std::int64_t i = 0; i < num_panels * kPanelRows; ++i) {
      const std::int64_t row =
          CpuLinearWeight::RowOf(layout, out, i / kPanelRows, static_cast<int>(i % kPanelRows));
      if (row < 0) continue;
      const auto [part, part_row] = Find(bias, row);
      packed_bias[static_cast<std::size_t>(i)] = SliceElement(*part, part_row, 0);
    }
  }
  return std::make_unique<CpuLinearWeight>(layout, out, in, std::move(panels),
                                           std::move(packed_bias));
}

Buffer CpuBackend::MakeTable(const WeightSlice& slice) {
  Buffer table = Allocate(static_cast<std::size_t>(slice.rows * slice.cols) * 2);
  auto* const to = static_cast<std::uint16_t*>(table.data());
  pool_.For(slice.rows, 256, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t r = begin; r < end; ++r) ConvertRow(slice, r, to + r * slice.cols);
  });
  return table;
}

}  // namespace thinkwire::worker::kernels
