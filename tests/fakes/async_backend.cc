#include "tests/fakes/async_backend.h"

#include <chrono>

#include "common/check.h"

namespace thinkwire::worker::kernels {

class AsyncBackend::DeviceFence final : public Fence {
 public:
  explicit DeviceFence(AsyncBackend& backend) : backend_(backend) {}
  void Record() override {
    before_ = backend_.num_given();
    recorded_ = true;
  }
  void Wait() override {
    CHECK(recorded_, "a fence is recorded before it is waited for");
    backend_.AwaitDone(before_);
  }

 private:
  AsyncBackend& backend_;
  std::uint64_t before_ = 0;  // ops that come before the fence
  bool recorded_ = false;
};

class AsyncBackend::DeviceStamp final : public Stamp {
 public:
  explicit DeviceStamp(AsyncBackend& backend)
      : backend_(backend), stamp_(backend.cpu_.MakeStamp()) {}
  void Record() override {
    backend_.Give([this] { stamp_->Record(); });
  }
  double SecondsSince(const Stamp& earlier) const override {
    return stamp_->SecondsSince(*static_cast<const DeviceStamp&>(earlier).stamp_);
  }

 private:
  AsyncBackend& backend_;
  const std::unique_ptr<Stamp> stamp_;
};

class AsyncBackend::DeviceReplay final : public Replay {
 public:
  DeviceReplay(AsyncBackend& backend, Ops ops) : backend_(backend), ops_(std::move(ops)) {}
  void Run() override {
    for (const auto& op : ops_) backend_.Give(op);
    MutexLock lock(backend_.mu_);
    ++backend_.replays_;
  }

 private:
  AsyncBackend& backend_;
  const Ops ops_;
};

namespace {

Capabilities AsyncOver(Capabilities device, bool gains_by_recording) {
  device.name = "async over " + device.name;
  device.gains_by_recording = gains_by_recording;
  return device;
}

}  // namespace

AsyncBackend::AsyncBackend(int num_threads, bool gains_by_recording)
    : cpu_(num_threads),
      capabilities_(AsyncOver(cpu_.capabilities(), gains_by_recording)),
      device_([this] { RunDevice(); }) {}

AsyncBackend::~AsyncBackend() {
  {
    MutexLock lock(mu_);
    held_ = false;
    stop_ = true;
    changed_.NotifyAll();
  }
  device_.join();
}

void AsyncBackend::RunDevice() {
  for (;;) {
    std::function<void()> op;
    {
      MutexLock lock(mu_);
      while (held_ || (queue_.empty() && !stop_)) changed_.Wait(mu_);
      if (queue_.empty()) return;
      op = std::move(queue_.front());
      queue_.pop_front();
    }
    op();
    MutexLock lock(mu_);
    ++done_;
    changed_.NotifyAll();
  }
}

void AsyncBackend::Hold() {
  MutexLock lock(mu_);
  held_ = true;
}

void AsyncBackend::Release() {
  MutexLock lock(mu_);
  held_ = false;
  changed_.NotifyAll();
}

bool AsyncBackend::AwaitCopiesAsked(int count) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  MutexLock lock(mu_);
  while (copies_asked_ < count) {
    const auto left = end - std::chrono::steady_clock::now();
    if (left <= left.zero()) return false;
    changed_.WaitFor(mu_, left);
  }
  return true;
}

int AsyncBackend::num_replays() const {
  MutexLock lock(mu_);
  return replays_;
}

void AsyncBackend::Give(std::function<void()> op) {
  if (recording_ != nullptr) {
    recording_->push_back(std::move(op));
    return;
  }
  MutexLock lock(mu_);
  queue_.push_back(std::move(op));
  ++given_;
  changed_.NotifyAll();
}

std::uint64_t AsyncBackend::num_given() const {
  MutexLock lock(mu_);
  return given_;
}

void AsyncBackend::AwaitDone(std::uint64_t count) {
  MutexLock lock(mu_);
  while (done_ < count) changed_.Wait(mu_);
}

void AsyncBackend::Synchronize() { AwaitDone(num_given()); }

std::unique_ptr<Fence> AsyncBackend::MakeFence() { return std::make_unique<DeviceFence>(*this); }

std::unique_ptr<Stamp> AsyncBackend::MakeStamp() { return std::make_unique<DeviceStamp>(*this); }

std::unique_ptr<Replay> AsyncBackend::Record(std::function<void()> ops) {
  CHECK(recording_ == nullptr, "one recording at a time");
  Ops recorded;
  recording_ = &recorded;
  ops();
  recording_ = nullptr;
  return std::make_unique<DeviceReplay>(*this, std::move(recorded));
}

Buffer AsyncBackend::AllocateHost(std::size_t bytes) {
  Buffer buffer = cpu_.Allocate(bytes);
  pinned_.emplace_back(static_cast<const std::byte*>(buffer.data()), bytes);
  return buffer;
}

bool AsyncBackend::IsPinned(const void* host, std::size_t bytes) const {
  const auto* const first = static_cast<const std::byte*>(host);
  for (const auto& [start, size] : pinned_) {
    if (first >= start && first + bytes <= start + size) return true;
  }
  return false;
}

void AsyncBackend::CopyToDevice(void* device, const void* host, std::size_t bytes) {
  CHECK(recording_ == nullptr, "host copies are not recorded");
  Give([=, this] { cpu_.CopyToDevice(device, host, bytes); });
  if (!IsPinned(host, bytes)) Synchronize();
}

void AsyncBackend::CopyToHost(void* host, const void* device, std::size_t bytes) {
  CHECK(recording_ == nullptr, "host copies are not recorded");
  Give([=, this] { cpu_.CopyToHost(host, device, bytes); });
  if (!IsPinned(host, bytes)) return Synchronize();
  MutexLock lock(mu_);
  ++copies_asked_;
  changed_.NotifyAll();
}

void AsyncBackend::CopyOnDevice(void* to, const void* from, std::size_t bytes) {
  Give([=, this] { cpu_.CopyOnDevice(to, from, bytes); });
}

std::unique_ptr<LinearWeight> AsyncBackend::MakeLinear(std::span<const WeightSlice> parts,
                                                       std::span<const WeightSlice> bias,
                                                       LinearLayout layout) {
  Synchronize();
  return cpu_.MakeLinear(parts, bias, layout);
}

Buffer AsyncBackend::MakeTable(const WeightSlice& slice) {
  Synchronize();
  return cpu_.MakeTable(slice);
}

std::unique_ptr<LatentHeads> AsyncBackend::MakeLatentHeads(const WeightSlice& rows,
                                                           const LatentShape& shape) {
  Synchronize();
  return cpu_.MakeLatentHeads(rows, shape);
}

std::unique_ptr<ExpertWeights> AsyncBackend::MakeExperts(const ExpertShape& shape) {
  Synchronize();
  return cpu_.MakeExperts(shape);
}

void AsyncBackend::WriteLatents(const LatentKeys& keys, const PairRotation& rotation,
                                const BatchView& batch, const KvLayer& kv) {
  Give([=, this] { cpu_.WriteLatents(keys, rotation, batch, kv); });
}

void AsyncBackend::AbsorbQueries(const Tensor& q, const LatentHeads& heads,
                                 const PairRotation& rotation, const BatchView& batch,
                                 const Tensor& out) {
  Give([=, this, h = &heads] { cpu_.AbsorbQueries(q, *h, rotation, batch, out); });
}

void AsyncBackend::AttendLatents(const Tensor& queries, const BatchView& batch, const KvLayer& kv,
                                 float scale, const Tensor& out) {
  Give([=, this] { cpu_.AttendLatents(queries, batch, kv, scale, out); });
}

void AsyncBackend::LatentValues(const Tensor& latents, const LatentHeads& heads,
                                std::int64_t first_head, const Tensor& out) {
  Give([=, this, h = &heads] { cpu_.LatentValues(latents, *h, first_head, out); });
}

void AsyncBackend::RouteExperts(const Tensor& x, const LinearWeight& gate, const Routing& routing,
                                const std::int32_t* token_seq, const ExpertChoice& choice) {
  Give([=, this, w = &gate] { cpu_.RouteExperts(x, *w, routing, token_seq, choice); });
}

void AsyncBackend::MixExperts(const Tensor& x, const ExpertMix& mix, const Tensor& out) {
  Give([=, this] { cpu_.MixExperts(x, mix, out); });
}

void AsyncBackend::Scatter(const Tensor& index, const Tensor& values, const Tensor& to) {
  Give([=, this] { cpu_.Scatter(index, values, to); });
}

void AsyncBackend::GatherInputIds(const Tensor& given, const Tensor& source_slot,
                                  const Tensor& last_drawn, const Tensor& ids) {
  Give([=, this] { cpu_.GatherInputIds(given, source_slot, last_drawn, ids); });
}

void AsyncBackend::Embed(const Tensor& ids, const Tensor& table, const Tensor& out) {
  Give([=, this] { cpu_.Embed(ids, table, out); });
}

void AsyncBackend::GatherRows(const Tensor& x, const Tensor& rows, const Tensor& out) {
  Give([=, this] { cpu_.GatherRows(x, rows, out); });
}

void AsyncBackend::RmsNorm(const Tensor& x, const Tensor& weight, float eps, const Tensor& out) {
  Give([=, this] { cpu_.RmsNorm(x, weight, eps, out); });
}

void AsyncBackend::AddRmsNorm(const ResidualNorm& norm) {
  Give([=, this] { cpu_.AddRmsNorm(norm); });
}

void AsyncBackend::QkvRopeWriteKv(const Tensor& x, const LinearWeight& qkv, const Tensor& rope,
                                  const BatchView& batch, const KvLayer& kv, const Tensor& q) {
  Give([=, this, w = &qkv] { cpu_.QkvRopeWriteKv(x, *w, rope, batch, kv, q); });
}

void AsyncBackend::PagedAttention(const Tensor& q, const BatchView& batch, const KvLayer& kv,
                                  float scale, const Tensor& out) {
  Give([=, this] { cpu_.PagedAttention(q, batch, kv, scale, out); });
}

void AsyncBackend::Linear(const Tensor& x, const LinearWeight& weight, const Tensor& out) {
  Give([=, this, w = &weight] { cpu_.Linear(x, *w, out); });
}

void AsyncBackend::GateUpSwiGlu(const Tensor& x, const LinearWeight& gate_up, const Tensor& out) {
  Give([=, this, w = &gate_up] { cpu_.GateUpSwiGlu(x, *w, out); });
}

void AsyncBackend::LmHead(const Tensor& x, const LinearWeight& weight, const Tensor& logits) {
  Give([=, this, w = &weight] { cpu_.LmHead(x, *w, logits); });
}

void AsyncBackend::Draw(const Tensor& logits, const DrawView& view, const Tensor& ids,
                        const Tensor& logprobs, const Tensor& not_finite,
                        const Tensor& last_drawn) {
  Give([=, this] { cpu_.Draw(logits, view, ids, logprobs, not_finite, last_drawn); });
}

void AsyncBackend::Logprobs(const Tensor& logits, const LogprobsView& view) {
  Give([=, this] { cpu_.Logprobs(logits, view); });
}

void AsyncBackend::AdjustLogits(const Tensor& logits, const DrawView& view,
                                const AdjustView& adjust, const Tensor& adjusted) {
  Give([=, this] { cpu_.AdjustLogits(logits, view, adjust, adjusted); });
}

void AsyncBackend::BeginCounts(const CountsBegin* begins, std::int32_t num_begins,
                               const std::int32_t* ids, const Tensor& counts) {
  Give([=, this] { cpu_.BeginCounts(begins, num_begins, ids, counts); });
}

void AsyncBackend::CountDraws(const DrawView& view, const Tensor& ids, const Tensor& counts) {
  Give([=, this] { cpu_.CountDraws(view, ids, counts); });
}

}  // namespace thinkwire::worker::kernels
