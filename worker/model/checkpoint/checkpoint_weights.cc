#include "worker/model/checkpoint/checkpoint_weights.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstring>
#include <functional>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/check.h"
#include "common/shown_text.h"
#include "common/status.h"
#include "worker/model/checkpoint/hash.h"

namespace thinkwire::worker::model {
namespace {

using kernels::Encoding;

std::optional<Encoding> ComputableType(absl::string_view stored) {
  if (stored == "BF16") return Encoding::kBf16;
  if (stored == "F16") return Encoding::kF16;
  if (stored == "F32") return Encoding::kF32;
  return std::nullopt;
}

std::string ShapeText(std::span<const std::int64_t> shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

// The exponent's bits in each element of 8 bytes, and one in each exponent's lowest place: adding
// the two carries into the sign's place exactly where the exponent is all ones (NaN, infinity).
struct ExponentMask {
  std::uint64_t exponent;
  std::uint64_t one;
  std::uint64_t sign;
};

ExponentMask MaskOf(Encoding encoding) {
  switch (encoding) {
    case Encoding::kBf16:
      return {0x7f807f807f807f80ULL, 0x0080008000800080ULL, 0x8000800080008000ULL};
    case Encoding::kF16:
      return {0x7c007c007c007c00ULL, 0x0400040004000400ULL, 0x8000800080008000ULL};
    default:
      return {0x7f8000007f800000ULL, 0x0080000000800000ULL, 0x8000000080000000ULL};
  }
}

struct Content {
  bool finite = true;
  std::uint64_t hash = 0;
};

// One pass at memory speed: four independent chains hide the multiply's latency.
Content ReadContent(std::span<const std::byte> bytes, Encoding encoding) {
  const ExponentMask mask = MaskOf(encoding);
  std::array<std::uint64_t, 4> lanes = {1, 2, 3, 4};
  std::uint64_t bad = 0;
  const auto take = [&](std::uint64_t word, std::uint64_t& lane) {
    bad |= (word & mask.exponent) + mask.one;
    lane = std::rotl((lane ^ word) * 0x9fb21c651e98df25ULL, 29);
  };
  std::size_t at = 0;
  for (; at + 32 <= bytes.size(); at += 32) {
    std::array<std::uint64_t, 4> words;
    std::memcpy(words.data(), bytes.data() + at, 32);
    for (std::size_t i = 0; i < 4; ++i) take(words[i], lanes[i]);
  }
  for (; at < bytes.size(); at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, std::min<std::size_t>(8, bytes.size() - at));
    take(word, lanes[0]);
  }
  Content content;
  content.finite = (bad & mask.sign) == 0;
  content.hash = bytes.size();
  for (const std::uint64_t lane : lanes) content.hash = HashWord(content.hash, lane);
  return content;
}

// Calls body(i) once for each i below `count`, on as many threads as there are cores: one does not
// read a disk or a page cache as fast as it goes.
void ForEachInParallel(std::size_t count, const std::function<void(std::size_t)>& body) {
  std::atomic<std::size_t> next = 0;
  const auto work = [&] {
    for (std::size_t i = next++; i < count; i = next++) body(i);
  };
  std::vector<std::thread> threads;
  for (unsigned i = 1; i < std::thread::hardware_concurrency(); ++i) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
}

std::string ModelText(const ModelPlan& plan) {
  return absl::StrCat("a ", plan.config.architecture, " of ", plan.config.num_layers, " layers");
}

absl::Status TensorError(const CheckpointTensor& tensor, absl::string_view problem) {
  return absl::InvalidArgumentError(
      absl::StrCat(tensor.file, ": tensor ", QuotedName(tensor.stored.name), " ", problem));
}

// Shape and dtype, from the header alone.
absl::Status CheckForm(const CheckpointTensor& tensor, const TensorSpec& spec) {
  std::vector<std::int64_t> expected = {spec.rows};
  if (!spec.is_vector) expected.push_back(spec.cols);
  if (tensor.stored.shape != expected) {
    return TensorError(tensor, absl::StrCat("has shape ", ShapeText(tensor.stored.shape),
                                            "; config.json asks for ", ShapeText(expected)));
  }
  if (!ComputableType(tensor.stored.dtype)) {
    return TensorError(
        tensor, absl::StrCat("has dtype ", tensor.stored.dtype, "; supported: BF16, F16, F32"));
  }
  return absl::OkStatus();
}

bool AreEqual(const StoredTensor& a, const StoredTensor& b) {
  return a.dtype == b.dtype && a.shape == b.shape &&
         std::memcmp(a.bytes.data(), b.bytes.data(), a.bytes.size()) == 0;
}

absl::Status Missing(const std::filesystem::path& dir, const std::string& tensor,
                     const ModelPlan& plan) {
  const bool is_head = tensor == kHeadName;
  return absl::InvalidArgumentError(absl::StrCat(
      dir.string(), ": the checkpoint has no tensor \"", tensor, "\", which ", ModelText(plan),
      " needs", is_head ? " (with tie_word_embeddings true it would be the embedding)" : ""));
}

}  // namespace

absl::StatusOr<std::unique_ptr<CheckpointWeights>> CheckpointWeights::Open(
    const std::filesystem::path& dir, ModelPlan& plan) {
  ASSIGN_OR_RETURN(Checkpoint checkpoint, Checkpoint::Open(dir));
  std::unique_ptr<CheckpointWeights> weights(new CheckpointWeights(std::move(checkpoint)));
  weights->Tie(plan);
  const std::vector<TensorSpec> specs = RequiredTensors(plan);
  for (const TensorSpec& spec : specs) {
    if (weights->Find(spec.name) == nullptr) return Missing(dir, spec.name, plan);
  }
  RETURN_IF_ERROR(weights->CheckForms(specs));
  RETURN_IF_ERROR(weights->AdmitAll(specs));
  weights->WarnOfUnused(specs, plan);
  return weights;
}

void CheckpointWeights::Tie(ModelPlan& plan) {
  if (!plan.config.tie_word_embeddings) return;
  const CheckpointTensor* embedding = checkpoint_.Find(kEmbeddingName);
  const CheckpointTensor* head = checkpoint_.Find(kHeadName);
  if (head == nullptr) return;
  embedding_is_head_ = embedding == nullptr;
  if (embedding_is_head_ || AreEqual(embedding->stored, head->stored)) return;
  ModelConfig config = plan.config;
  config.tie_word_embeddings = false;
  config.warnings.push_back(absl::StrCat(head->file, ": ", kHeadName,
                                         " is obeyed, tie_word_embeddings true is not, as ",
                                         kEmbeddingName, " holds other numbers"));
  plan = MakePlan(config);
}

const CheckpointTensor* CheckpointWeights::Find(absl::string_view name) const {
  return checkpoint_.Find(embedding_is_head_ && name == kEmbeddingName ? kHeadName : name);
}

absl::Status CheckpointWeights::CheckForms(const std::vector<TensorSpec>& specs) {
  std::set<std::string> dtypes;
  for (const TensorSpec& spec : specs) {
    const CheckpointTensor& tensor = *Find(spec.name);
    RETURN_IF_ERROR(CheckForm(tensor, spec));
    dtypes.insert(tensor.stored.dtype);
  }
  stored_as_ = absl::StrJoin(dtypes, " and ");
  return absl::OkStatus();
}

void CheckpointWeights::WarnOfUnused(const std::vector<TensorSpec>& specs, ModelPlan& plan) const {
  std::set<absl::string_view> used;
  for (const TensorSpec& spec : specs) used.insert(Find(spec.name)->stored.name);
  std::vector<std::string> unused;
  for (const auto& [name, tensor] : checkpoint_.tensors()) {
    if (!used.contains(name) && !IsSurplus(plan, name)) unused.push_back(name);
  }
  std::vector<std::string>& warnings = plan.config.warnings;
  warnings.insert(warnings.end(), checkpoint_.warnings().begin(), checkpoint_.warnings().end());
  if (unused.empty()) return;
  warnings.push_back(absl::StrCat(checkpoint_.Find(unused.front())->file, ": ", ModelText(plan),
                                  " as config.json has it has no use for ", unused.size(),
                                  " tensors: ", ShownText(absl::StrJoin(unused, ", "))));
}

absl::Status CheckpointWeights::AdmitAll(const std::vector<TensorSpec>& specs) {
  std::vector<Content> contents(specs.size());
  ForEachInParallel(specs.size(), [&](std::size_t i) {
    const StoredTensor& stored = Find(specs[i].name)->stored;
    contents[i] = ReadContent(stored.bytes, *ComputableType(stored.dtype));
  });
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const CheckpointTensor& tensor = *Find(specs[i].name);
    if (!contents[i].finite) return TensorError(tensor, "holds a NaN or an infinity");
    identity_ = HashWord(HashBytes(identity_, specs[i].name), contents[i].hash);
    identity_ = HashBytes(identity_, tensor.stored.dtype);
  }
  return absl::OkStatus();
}

HostSlice CheckpointWeights::Slice(const TensorSpec& spec, const Region& region) const {
  const CheckpointTensor* tensor = Find(spec.name);
  CHECK(tensor != nullptr, "a weight that was not admitted");
  const Encoding encoding = *ComputableType(tensor->stored.dtype);
  CheckRegion(spec, region, encoding);
  const std::int64_t offset = region.first_row * spec.cols + region.first_col;
  HostSlice host;
  host.slice = {.data = tensor->stored.bytes.data() + kernels::BytesOf(encoding, offset),
                .encoding = encoding,
                .rows = region.rows,
                .cols = region.cols,
                .row_stride = spec.cols};
  return host;
}

}  // namespace thinkwire::worker::model
