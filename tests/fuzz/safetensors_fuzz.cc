// Any bytes as a safetensors file: refused in one short line, or tensors that lie within the file
// and cover what their shapes need.
#include <cstddef>
#include <cstdint>
#include <span>

#include "common/check.h"
#include "tests/fuzz/refusal.h"
#include "worker/model/checkpoint/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using thinkwire::worker::model::StoredTensor;
  const std::span<const std::byte> file(reinterpret_cast<const std::byte*>(data), size);
  const auto tensors = thinkwire::worker::model::ParseSafetensors(file, "file");
  if (!tensors.ok()) {
    thinkwire::fuzz::CheckRefusal(tensors.status());
    return 0;
  }
  std::size_t total = 0;
  for (const StoredTensor& tensor : *tensors) {
    CHECK(tensor.bytes.empty() ||
              (tensor.bytes.data() >= file.data() &&
               tensor.bytes.data() + tensor.bytes.size() <= file.data() + file.size()),
          "within the file");
    total += tensor.bytes.size();
  }
  CHECK(total < file.size(), "no byte belongs to two tensors, and the header has its own");
  return 0;
}
