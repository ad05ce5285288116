#include "worker/model/layers/load_weight.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace thinkwire::worker::model {
namespace {

using kernels::WeightSlice;

// Slices of a stack of tensors, with the host memory that they may point into.
struct Stack {
  std::vector<HostSlice> held;
  std::vector<WeightSlice> slices;
};

// How many rows the rank's share goes past the tensor's end.
std::int64_t RowsPastTheEnd(const PlannedTensor& tensor, std::int64_t rows,
                            const RankShape& shape) {
  if (tensor.division == Division::kWhole || tensor.axis != Axis::kRows) return 0;
  const Share& share = shape.of(tensor.division);
  return share.count * UnitOf(tensor, share) - rows;
}

Stack SliceAll(const std::vector<PlannedTensor>& tensors, const LoadPlace& place) {
  Stack stack;
  for (const PlannedTensor& tensor : tensors) {
    const Region region = RegionOf(tensor, place.shape);
    if (region.rows > 0) {
      stack.held.push_back(place.source.Slice(tensor.spec, region));
      stack.slices.push_back(stack.held.back().slice);
    }
    const std::int64_t padding = RowsPastTheEnd(tensor, region.rows, place.shape);
    if (padding == 0) continue;
    HostSlice zeros;
    zeros.owned.resize(static_cast<std::size_t>(
        kernels::BytesOf(kernels::Encoding::kBf16, padding * region.cols)));
    stack.slices.push_back({.data = zeros.owned.data(),
                            .encoding = kernels::Encoding::kBf16,
                            .rows = padding,
                            .cols = region.cols,
                            .row_stride = region.cols});
    stack.held.push_back(std::move(zeros));
  }
  return stack;
}

}  // namespace

std::vector<RankShape> SummedShapes(const LoadPlace& place) {
  if (place.backend.capabilities().kind != kernels::DeviceKind::kCpu) return {place.shape};
  return SummedShapes(place.shape);
}

std::unique_ptr<kernels::LinearWeight> LoadLinear(const PlannedWeight& weight,
                                                  const LoadPlace& place) {
  const Stack matrices = SliceAll(weight.matrices, place);
  const Stack biases = SliceAll(weight.biases, place);
  return place.backend.MakeLinear(matrices.slices, biases.slices, weight.layout);
}

kernels::Buffer LoadTable(const PlannedTensor& tensor, const LoadPlace& place) {
  return place.backend.MakeTable(
      place.source.Slice(tensor.spec, {0, tensor.spec.rows, 0, tensor.spec.cols}).slice);
}

Embedding LoadEmbedding(const ModelPlan& plan, const LoadPlace& place) {
  const TensorSpec& spec = plan.embedding.spec;
  const HostSlice host = place.source.Slice(spec, {0, spec.rows, 0, spec.cols});
  Embedding table = {.memory = {}, .rows = host.slice};
  if (kernels::IsPacked(host.slice.encoding) && place.backend.EmbedsPacked()) {
    const std::span<const std::byte> bytes = BytesOf(host.slice);
    table.memory = place.backend.Allocate(bytes.size());
    place.backend.CopyToDevice(table.memory.data(), bytes.data(), bytes.size());
  } else {
    table.memory = plan.host_embedding ? place.backend.MakeHostTable(host.slice)
                                       : place.backend.MakeTable(host.slice);
    table.rows.encoding = kernels::Encoding::kBf16;
  }
  table.rows.data = table.memory.data();
  table.device_bytes = plan.host_embedding ? 0 : static_cast<std::int64_t>(table.memory.bytes());
  return table;
}

}  // namespace thinkwire::worker::model
