#pragma once

#include "worker/kernels/blocks_fp8.h"
#include "worker/kernels/blocks_groups.h"
#include "worker/kernels/blocks_int4.h"
#include "worker/kernels/blocks_iq4.h"
#include "worker/kernels/blocks_k.h"
#include "worker/kernels/blocks_legacy.h"
#include "worker/kernels/weights.h"

namespace thinkwire::worker::kernels {

// Calls f with a value of the type that reads blocks of `encoding` (Q4KBlock, …). Returns whether
// there is one, which there is for all that are packed.
template <class Isa, class F>
bool WithBlockType(Encoding encoding, const F& f) {
  switch (encoding) {
    case Encoding::kQ4_0:
      return f(Q4_0Block()), true;
    case Encoding::kQ4_1:
      return f(Q4_1Block()), true;
    case Encoding::kQ5_0:
      return f(Q5_0Block()), true;
    case Encoding::kQ5_1:
      return f(Q5_1Block()), true;
    case Encoding::kQ8_0:
      return f(Q8_0Block()), true;
    case Encoding::kQ2K:
      return f(Q2KBlock()), true;
    case Encoding::kQ3K:
      return f(Q3KBlock()), true;
    case Encoding::kQ4K:
      return f(Q4KBlock()), true;
    case Encoding::kQ5K:
      return f(Q5KBlock()), true;
    case Encoding::kQ6K:
      return f(Q6KBlock()), true;
    case Encoding::kIq4Nl:
      return f(Iq4NlBlock()), true;
    case Encoding::kIq4Xs:
      return f(Iq4XsBlock()), true;
    case Encoding::kInt4:
      return f(Int4GroupBlock()), true;
    case Encoding::kInt4G64:
      return f(NarrowInt4Block<64>()), true;
    case Encoding::kInt4G32:
      return f(NarrowInt4Block<32>()), true;
    case Encoding::kInt8:
      return f(Int8GroupBlock<128>()), true;
    case Encoding::kInt8G64:
      return f(Int8GroupBlock<64>()), true;
    case Encoding::kInt8G32:
      return f(Int8GroupBlock<32>()), true;
    case Encoding::kFp8:
      return f(Fp8Block()), true;
    default:
      return false;
  }
}

}  // namespace thinkwire::worker::kernels
