#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "thinkwire/v1/reasoning.pb.h"

namespace thinkwire::router {

// Events of a stream that wait to be sent, first in, first out: as bytes, which take less
// memory than messages. Threads: one at a time.
class HeldEvents {
 public:
  void Add(const v1::GenerateResponse& event);
  // All of `others` behind its own.
  void Append(const HeldEvents& others);

  // The first one, which leaves; nullopt: there is none.
  std::optional<v1::GenerateResponse> Next();
  // The text of the answer in all that it holds.
  std::string AnswerText() const;

  void Clear();
  std::size_t bytes() const { return bytes_.capacity(); }

 private:
  // The event at `at`, which moves behind it; nullopt: there is none.
  std::optional<v1::GenerateResponse> Read(std::size_t& at) const;

  std::string bytes_;     // each event behind its size
  std::size_t next_ = 0;  // where the first one is
};

}  // namespace thinkwire::router
