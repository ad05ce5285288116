#include <cstring>

#include "worker/kernels/check.h"
#include "worker/kernels/convert.h"
#include "worker/kernels/cpu/cpu_backend.h"
#include "worker/kernels/unpack_row.h"

// Ops that only move: which ids a step reads, their embeddings, the rows that draw.
namespace thinkwire::worker::kernels {

void CpuBackend::Scatter(const Tensor& index, const Tensor& values, const Tensor& to) {
  Check(index.size() == values.size(), "one value an index");
  for (std::int64_t i = 0; i < index.size(); ++i) {
    const std::int32_t at = index.as<std::int32_t>()[i];
    Check(at >= 0 && at < to.size(), "an index is within its target");
    to.as<std::int32_t>()[at] = values.as<std::int32_t>()[i];
  }
}

void CpuBackend::GatherInputIds(const Tensor& given, const Tensor& source_slot,
                                const Tensor& last_drawn, const Tensor& ids) {
  Check(given.size() == ids.size() && source_slot.size() == ids.size(), "all hold T ids");
  const auto* slots = source_slot.as<std::int32_t>();
  for (std::int64_t t = 0; t < ids.size(); ++t) {
    Check(slots[t] < last_drawn.size(), "a slot is below Q");
    ids.as<std::int32_t>()[t] =
        slots[t] >= 0 ? last_drawn.as<std::int32_t>()[slots[t]] : given.as<std::int32_t>()[t];
  }
}

void CpuBackend::Embed(const Tensor& ids, const Tensor& table, const Tensor& out) {
  Check(table.rank == 2 && table.dtype == DType::kBf16, "the table is bf16 [V, E]");
  const std::int64_t width = table.dim(1);
  Check(out.dtype == DType::kF32 && out.size() == ids.size() * width, "the output is f32 [T, E]");
  const auto* id = ids.as<std::int32_t>();
  pool_.For(ids.size(), 32, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t t = begin; t < end; ++t) {
      Check(id[t] >= 0 && id[t] < table.dim(0), "a token id is in the vocabulary");
      rows_.widen(table.as<std::uint16_t>() + id[t] * width, out.as<float>() + t * width, width);
    }
  });
}

void CpuBackend::EmbedPacked(const Tensor& ids, const WeightSlice& table, const Tensor& out) {
  const std::int64_t width = table.cols;
  Check(out.dtype == DType::kF32 && out.size() == ids.size() * width, "the output is f32 [T, E]");
  const auto* id = ids.as<std::int32_t>();
  pool_.For(ids.size(), 8, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t t = begin; t < end; ++t) {
      Check(id[t] >= 0 && id[t] < table.rows, "a token id is in the vocabulary");
      float* const to = out.as<float>() + t * width;
      UnpackRow(table.encoding, table.row(id[t]), width, to);
      for (std::int64_t c = 0; c < width; ++c) to[c] = F32FromBf16(Bf16FromF32(to[c]));
    }
  });
}

void CpuBackend::GatherRows(const Tensor& x, const Tensor& rows, const Tensor& out) {
  Check(x.rank == 2 && out.size() == rows.size() * x.dim(1), "the output is [L, E]");
  const std::int64_t width = x.dim(1);
  for (std::int64_t l = 0; l < rows.size(); ++l) {
    const std::int32_t row = rows.as<std::int32_t>()[l];
    Check(row >= 0 && row < x.dim(0), "a row is below T");
    std::memcpy(out.as<float>() + l * width, x.as<float>() + row * width,
                static_cast<std::size_t>(width) * sizeof(float));
  }
}

}  // namespace thinkwire::worker::kernels
