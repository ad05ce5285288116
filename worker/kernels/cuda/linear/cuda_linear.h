#pragma once

#include <cstdint>
#include <optional>

#include "worker/kernels/cuda/linear/linear_output.h"
#include "worker/kernels/cuda/stream/op_stream.h"
#include "worker/kernels/norm.h"
#include "worker/kernels/stacked_rows.h"
#include "worker/kernels/weights.h"

// The room of products with weights. An op says what becomes of the sums (linear_output.h), and the
// weight multiplies in the way that suits its kind and the number of tokens.
//
// Another kind of weight adds here, as those that there are: a CudaLinear
// with its layout on the device, its upload and its choice of ways; a kernel for few tokens, which
// hands its sums to linear_outputs.cuh as the others do; a way for many tokens; and one case in
// CudaBackend::MakeLinear, by the parts' Encoding. No op and no output changes.
namespace thinkwire::worker::kernels {

// A weight on the GPU that multiplies by itself.
// Threads: any may read it; Run is the stream's.
class CudaLinear : public LinearWeight {
 public:
  CudaLinear(LinearLayout layout, const LinearShape& shape) : layout_(layout), shape_(shape) {}

  // REQUIRES: a CudaBackend made the weight.
  static const CudaLinear& From(const LinearWeight& weight);

  DeviceKind device() const final { return DeviceKind::kCuda; }
  std::int64_t out_features() const final { return shape_.out; }
  std::int64_t in_features() const final { return shape_.in; }

  // Gives `stream` the product of x, bf16 [T, in], with this weight; `output` says what becomes of
  // it. A norm that the stream holds and that makes x is done on the way, or before.
  // REQUIRES: the output takes this weight's layout and fits its rows and x's tokens; the backend
  // that made the weight lives. Not the first with so many tokens in a recording.
  void Run(const Tensor& x, const LinearOutput& output, OpStream& stream) const;

 protected:
  // The norm that the stream holds, if it makes x and models ask for a product with this output
  // right after a norm: the caller's to do on the way.
  static std::optional<ResidualNorm> TakeNorm(const Tensor& x, const LinearOutput& output,
                                              OpStream& stream);

 private:
  virtual void Multiply(const Tensor& x, const LinearOutput& output, OpStream& stream) const = 0;

  const LinearLayout layout_;
  const LinearShape shape_;
};

}  // namespace thinkwire::worker::kernels
