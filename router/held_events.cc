#include "router/held_events.h"

#include <cstdint>
#include <cstring>

#include "common/check.h"

namespace thinkwire::router {

void HeldEvents::Add(const v1::GenerateResponse& event) {
  const auto size = static_cast<std::uint32_t>(event.ByteSizeLong());
  bytes_.append(reinterpret_cast<const char*>(&size), sizeof(size));
  CHECK(event.AppendToString(&bytes_), "an event that came as a message is one");
}

void HeldEvents::Append(const HeldEvents& others) { bytes_.append(others.bytes_, others.next_); }

std::optional<v1::GenerateResponse> HeldEvents::Read(std::size_t& at) const {
  if (at == bytes_.size()) return std::nullopt;
  std::uint32_t size = 0;
  std::memcpy(&size, bytes_.data() + at, sizeof(size));
  v1::GenerateResponse event;
  CHECK(event.ParseFromArray(bytes_.data() + at + sizeof(size), static_cast<int>(size)),
        "what was written can be read");
  at += sizeof(size) + size;
  return event;
}

std::optional<v1::GenerateResponse> HeldEvents::Next() {
  std::optional<v1::GenerateResponse> event = Read(next_);
  if (next_ == bytes_.size()) Clear();
  return event;
}

std::string HeldEvents::AnswerText() const {
  std::string text;
  std::size_t at = next_;
  while (const std::optional<v1::GenerateResponse> event = Read(at)) {
    text += event->answer_delta().text();
  }
  return text;
}

void HeldEvents::Clear() {
  std::string().swap(bytes_);
  next_ = 0;
}

}  // namespace thinkwire::router
