// Any bytes as a GGUF file: refused in one short line, or values, tensors and a tokenizer that can
// be used.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/check.h"
#include "tests/fuzz/refusal.h"
#include "tests/fuzz/scratch_dir.h"
#include "worker/model/checkpoint/model_files.h"
#include "worker/model/checkpoint/model_plan.h"
#include "worker/text/tokenizer.h"

namespace {

template <class Read>
bool IsRead(const Read& read) {
  if (!read.ok()) thinkwire::fuzz::CheckRefusal(read.status());
  return read.ok();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace model = thinkwire::worker::model;
  static const thinkwire::fuzz::ScratchDir dir;
  dir.Write("x.gguf", {reinterpret_cast<const char*>(data), size});
  const auto path = dir.path() / "x.gguf";
  const auto tokenizer = thinkwire::worker::text::Tokenizer::Load(path);
  if (IsRead(tokenizer)) {
    for (const std::int32_t id : (*tokenizer)->EncodeUserText("a text <think>")) {
      CHECK(id >= 0 && id < (*tokenizer)->num_ids(), "an id that is defined");
    }
  }
  const auto files = model::OpenModelFiles(path);
  IsRead(files->DefaultSampling());
  const auto config = files->Config();
  if (!IsRead(config)) return 0;
  model::ModelPlan plan = model::MakePlan(*config);
  const auto weights = files->Weights(plan);
  if (!IsRead(weights)) return 0;
  for (const model::TensorSpec& spec : model::RequiredTensors(plan)) {
    const auto slice = (*weights)->Slice(spec, {0, spec.rows, 0, spec.cols}).slice;
    CHECK(slice.rows == spec.rows && slice.cols == spec.cols, "all of the tensor");
  }
  return 0;
}
