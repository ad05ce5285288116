// What the largest request of each kind costs the thread that reads it: parsing and checking it, as
// router and worker do, and making the bytes that the router sends on. Medians of processor time.
#include <grpcpp/support/byte_buffer.h>
#include <time.h>

#include <cstddef>
#include <cstdio>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "common/rpc/request_checks.h"
#include "common/rpc/request_parser.h"
#include "tests/bench/statistics.h"
#include "thinkwire/v1/reasoning.pb.h"
#include "thinkwire/v1/worker.pb.h"

namespace {

using namespace thinkwire;

constexpr std::size_t kBytes = (std::size_t{2} << 20) - 64;
constexpr int kRuns = 25;

std::string Repeat(std::string_view unit, std::size_t bytes) {
  std::string text;
  while (text.size() + unit.size() <= bytes) text += unit;
  return text;
}

// Field `number` of wire type 2 with these bytes.
std::string Field(int number, const std::string& value) {
  std::string bytes(1, static_cast<char>(number << 3 | 2));
  for (std::size_t size = value.size(); true; size >>= 7) {
    if (size < 0x80) return bytes + static_cast<char>(size) + value;
    bytes += static_cast<char>((size & 0x7F) | 0x80);
  }
}

std::string Text(std::string_view unit) { return Field(1, Field(2, Repeat(unit, kBytes))); }

std::string Chat(const std::string& unit) { return Field(1, Field(1, Repeat(unit, kBytes))); }

std::string Biases() {
  std::string bytes;
  for (int id = 0x80; bytes.size() < kBytes; ++id) {
    std::string entry = "\x08";
    int rest = id;
    for (; rest >= 0x80; rest >>= 7) entry += static_cast<char>((rest & 0x7F) | 0x80);
    bytes += Field(8, entry + static_cast<char>(rest));
  }
  return Field(5, bytes);
}

struct Kind {
  const char* name;
  std::string bytes;
};

std::vector<Kind> Kinds() {
  const std::string letters = Field(2, Repeat("\u4f60\u597d", 600));
  return {
      {"messages, empty", Chat(Field(1, ""))},
      {"messages, a letter each", Chat(Field(1, "\x08\x02" + Field(2, "x")))},
      {"messages of 600 bytes", Chat(Field(1, "\x08\x02" + letters))},
      {"resume.outputs, empty", Field(15, Repeat(Field(2, ""), kBytes))},
      {"logit_bias, different ids", Biases()},
      {"logit_bias, empty", Field(5, Repeat(Field(8, ""), kBytes))},
      {"logit_bias, one of many keys", Field(5, Field(8, Repeat("\x08\x01", kBytes)))},
      {"stop_strings, empty", Field(6, Repeat(Field(9, ""), kBytes))},
      {"choices, a letter each", Field(14, Field(3, Repeat(Field(1, "x"), kBytes)))},
      {"ids, packed", "\x12\x01x" + Field(1, Field(3, Field(1, Repeat("\x01", kBytes))))},
      {"ids, packed, of two bytes",
       "\x12\x01x" + Field(1, Field(3, Field(1, Repeat("\x80\x01", kBytes))))},
      {"ids, one by one", "\x12\x01x" + Field(1, Field(3, Repeat("\x08\x01", kBytes)))},
      {"the prompt, again and again", Repeat(Field(1, ""), kBytes)},
      {"chat and text by turns", Field(1, Repeat(Field(1, "") + Field(2, ""), kBytes))},
      {"the seed, again and again", Repeat("\x38\x01", kBytes)},
      {"unknown fields", Repeat(std::string("\xf8\x01\x00", 3), kBytes)},
      {"unknown fields of the last message",
       Field(1, Field(1, Field(1, Repeat("\x18\x01", kBytes))))},
      {"text, ASCII", Text("What is 1+1? ")},
      {"text, two bytes a letter", Text("\u00e9")},
      {"text, three bytes a letter", Text("\u4f60\u597d")},
      {"text, one and three bytes by turns", Text("x\u4f60")},
      {"text, not UTF-8 at its end", Field(1, Field(2, Repeat("\u4f60", kBytes) + "\xff"))},
  };
}

double ThreadSeconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

double Microseconds(const std::function<void()>& run) {
  const double begin = ThreadSeconds();
  run();
  return 1e6 * (ThreadSeconds() - begin);
}

void Measure(const Kind& kind) {
  std::vector<double> read, sent;
  absl::Status status;
  for (int i = 0; i < kRuns; ++i) {
    const grpc::Slice slice(kind.bytes);
    const grpc::ByteBuffer bytes(&slice, 1);
    v1::WorkerGenerateRequest request;
    read.push_back(Microseconds([&] {
      status = rpc::ParseRequest(bytes, *request.mutable_request());
      if (status.ok()) status = rpc::CheckRequest(request.request());
    }));
    if (status.ok()) sent.push_back(Microseconds([&] { rpc::Serialize(request); }));
  }
  std::printf("| %s | %.0f | %.0f | %s |\n", kind.name, bench::Median(read),
              sent.empty() ? 0 : bench::Median(sent),
              status.ok() ? "taken" : std::string(status.message()).substr(0, 100).c_str());
}

}  // namespace

int main() {
  std::printf("| 2 MiB of | read us | sent on us | |\n|---|---|---|---|\n");
  for (const Kind& kind : Kinds()) Measure(kind);
}
