#include "worker/kernels/cpu/cpu_backend.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <utility>

#include "worker/kernels/check.h"
#include "worker/kernels/stacked_rows.h"

namespace thinkwire::worker::kernels {
namespace {

constexpr std::size_t kCacheLine = 64;

// The piece of calloc's that holds `data` starts at the address stored just below it.
void FreeAligned(void* data) { std::free(static_cast<void**>(data)[-1]); }

std::string NameOf(const RowKernels& rows, int threads, bool fp8_inputs) {
  return std::string(fp8_inputs ? "cpu-fp8_inputs " : "cpu ") + rows.name + " " +
         std::to_string(threads) + (threads == 1 ? " thread" : " threads");
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

CpuBackend::CpuBackend(int num_threads, Isa isa, bool fp8_inputs)
    : rows_(RowKernelsFor(isa)),
      fp8_inputs_(fp8_inputs),
      pool_(num_threads),
      capabilities_({.name = NameOf(rows_, num_threads, fp8_inputs),
                     .kind = DeviceKind::kCpu,
                     .activation = DType::kF32,
                     .only_head_dim = 0,
                     .gains_by_recording = false}) {}

Buffer CpuBackend::Allocate(std::size_t bytes) {
  // calloc leaves large pieces to the kernel's zero pages: untouched memory costs nothing.
  void* const piece = std::calloc(1, bytes + kCacheLine + sizeof(void*));
  if (piece == nullptr) {
    // As operator new: the process may have words for it.
    if (const std::new_handler out_of_memory = std::get_new_handler()) out_of_memory();
    Check(false, "out of memory");
  }
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

namespace {

bool AreFp8(std::span<const WeightSlice> parts) {
  return std::all_of(parts.begin(), parts.end(), [](const WeightSlice& part) {
    return part.encoding == Encoding::kFp8 && part.order == nullptr;
  });
}

std::vector<std::int32_t> OrderOf(const WeightSlice& part) {
  if (part.order == nullptr) return {};
  return {part.order, part.order + part.cols};
}

}  // namespace

std::unique_ptr<LinearWeight> CpuBackend::MakeLinear(std::span<const WeightSlice> parts,
                                                     std::span<const WeightSlice> bias,
                                                     LinearLayout layout) {
  const LinearShape shape = CheckedLinearShape(parts, bias, layout);
  if (std::any_of(parts.begin(), parts.end(),
                  [](const WeightSlice& part) { return IsPacked(part.encoding); })) {
    PackedPanels panels(parts, {layout, shape.out});
    panels.Fill(parts, pool_, Allocate(panels.bytes()));
    return std::make_unique<CpuLinearWeight>(layout, shape, std::move(panels),
                                             OrderOf(parts.front()), PackBias(bias, layout, shape),
                                             fp8_inputs_ && AreFp8(parts));
  }
  Buffer panels = Allocate(CpuLinearWeight::PanelBytes(layout, shape));
  PackPanels(parts, layout, shape, pool_, static_cast<std::uint16_t*>(panels.data()));
  return std::make_unique<CpuLinearWeight>(layout, shape, std::move(panels),
                                           PackBias(bias, layout, shape));
}

Buffer CpuBackend::MakeTable(const WeightSlice& slice) {
  Buffer table = Allocate(static_cast<std::size_t>(slice.rows * slice.cols) * 2);
  auto* const to = static_cast<std::uint16_t*>(table.data());
  pool_.For(slice.rows, 256, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t r = begin; r < end; ++r) ConvertRow({&slice, r}, to + r * slice.cols);
  });
  return table;
}

}  // namespace thinkwire::worker::kernels
