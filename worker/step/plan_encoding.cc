#include "worker/step/plan_encoding.h"

#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

namespace thinkwire::worker::step {
namespace {

// A phase's parameters have four bytes each and go word by word, so that one more needs nothing
// here.
using SamplingWords = std::array<std::uint32_t, sizeof(PhaseSampling) / sizeof(std::uint32_t)>;
static_assert(sizeof(SamplingWords) == sizeof(PhaseSampling));

// Both ends pass a plan's values through one description (Code, below), so that they cannot differ
// in which values there are and in what order. `As` is how an end holds a T: the writer reads the
// plan, the reader fills it.
class Writer {
 public:
  template <class T>
  using As = const T;

  template <std::integral T>
  void Number(const T& value) {
    auto rest = static_cast<std::make_unsigned_t<T>>(value);
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      bytes_.push_back(static_cast<char>(rest & 0xFF));
      rest = static_cast<std::make_unsigned_t<T>>(std::uint64_t{rest} >> 8);
    }
  }
  void Number(const bool& value) { Number(static_cast<std::uint8_t>(value)); }
  void Number(const Phase& value) { Number(static_cast<std::uint8_t>(value)); }
  void Number(const float& value) { Number(std::bit_cast<std::uint32_t>(value)); }
  void Number(const PhaseSampling& value) {
    for (const std::uint32_t word : std::bit_cast<SamplingWords>(value)) Number(word);
  }

  void Numbers(const auto&... values) { (Number(values), ...); }

  template <class... T>
  void Arrays(const std::vector<T>&... arrays) {
    (Array(arrays), ...);
  }

  std::string Take() { return std::move(bytes_); }

 private:
  template <class T>
  void Array(const std::vector<T>& array) {
    Number(static_cast<std::uint32_t>(array.size()));
    for (const T& element : array) Code(*this, element);
  }

  std::string bytes_;
};

// An array's element takes: all of its fields, each of a fixed size.
template <class T>
std::size_t BytesOf() {
  Writer writer;
  Code(writer, T{});
  return writer.Take().size();
}

// After the first value that is not there or not possible, nothing is read any more.
class Reader {
 public:
  template <class T>
  using As = T;

  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  template <std::integral T>
  void Number(T& value) {
    if (rest_.size() < sizeof(T)) return Fail();
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      bits |= std::uint64_t{static_cast<std::uint8_t>(rest_[i])} << (8 * i);
    }
    value = static_cast<T>(bits);
    rest_.remove_prefix(sizeof(T));
  }
  void Number(bool& value) { value = Choice(2) == 1; }
  void Number(Phase& value) { value = static_cast<Phase>(Choice(kNumPhases)); }
  void Number(float& value) {
    std::uint32_t bits = 0;
    Number(bits);
    value = std::bit_cast<float>(bits);
  }
  void Number(PhaseSampling& value) {
    SamplingWords words = {};
    for (std::uint32_t& word : words) Number(word);
    value = std::bit_cast<PhaseSampling>(words);
  }

  void Numbers(auto&... values) { (Number(values), ...); }

  template <class... T>
  void Arrays(std::vector<T>&... arrays) {
    (Array(arrays), ...);
  }

  // Whether every value was there, and nothing after the last.
  bool AtEnd() const { return !failed_ && rest_.empty(); }

 private:
  template <class T>
  void Array(std::vector<T>& array) {
    std::uint32_t size = 0;
    Number(size);
    if (size > rest_.size() / BytesOf<T>()) return Fail();
    array.resize(size);
    for (T& element : array) Code(*this, element);
  }

  void Fail() {
    failed_ = true;
    rest_ = {};
  }

  // A byte below `end`.
  std::uint8_t Choice(int end) {
    std::uint8_t choice = 0;
    Number(choice);
    if (choice < end) return choice;
    Fail();
    return 0;
  }

  std::string_view rest_;
  bool failed_ = false;
};

// The one description. A struct's fields are taken apart by name, so that nothing compiles until a
// field that is added to one is added here.
template <class End>
void Code(End& end, typename End::template As<std::int32_t>& id) {
  end.Number(id);
}

template <class End>
void Code(End& end, typename End::template As<MaskWord>& word) {
  end.Number(word);
}

template <class End>
void Code(End& end, typename End::template As<LogitBias>& entry) {
  auto& [id, bias] = entry;
  end.Numbers(id, bias);
}

template <class End>
void Code(End& end, typename End::template As<Row>& row) {
  auto& [slot, first_position, count, first_id, draws, logprob, alternatives, adjusted, mask,
         phase] = row;
  end.Numbers(slot, first_position, count, first_id, draws, logprob, alternatives, adjusted, mask,
              phase);
}

template <class End>
void Code(End& end, typename End::template As<BlockTableChange>& change) {
  auto& [slot, index, block] = change;
  end.Numbers(slot, index, block);
}

template <class End>
void Code(End& end, typename End::template As<SamplingParams>& params) {
  auto& [phases, seed, output_index, think_end_id] = params;
  for (auto& phase : phases) end.Number(phase);
  end.Numbers(seed, output_index, think_end_id);
}

template <class End>
void Code(End& end, typename End::template As<SamplingChange>& change) {
  auto& [slot, params, first_bias, first_counted, num_prompt, num_drawn, phase] = change;
  end.Number(slot);
  Code(end, params);
  end.Numbers(first_bias, first_counted, num_prompt, num_drawn, phase);
}

template <class End>
void Code(End& end, typename End::template As<Plan>& plan) {
  auto& [step, rows, input_ids, block_table_changes, sampling_changes, biases, counted_ids, masks] =
      plan;
  end.Number(step);
  end.Arrays(rows, input_ids, block_table_changes, sampling_changes, biases, counted_ids, masks);
}

}  // namespace

std::string EncodePlan(const Plan& plan) {
  Writer writer;
  writer.Number(kPlanVersion);
  Code(writer, plan);
  return writer.Take();
}

std::optional<Plan> DecodePlan(std::string_view bytes) {
  Reader reader(bytes);
  char version = 0;
  reader.Number(version);
  if (version != kPlanVersion) return std::nullopt;
  std::optional<Plan> plan(std::in_place);
  Code(reader, *plan);
  if (!reader.AtEnd()) plan.reset();
  return plan;
}

}  // namespace thinkwire::worker::step
