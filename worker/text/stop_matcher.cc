#include "worker/text/stop_matcher.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "common/check.h"

namespace thinkwire::worker::text {

StopMatcher::StopMatcher(const std::vector<std::string>& stops) {
  stops_.reserve(stops.size());
  for (const std::string& text : stops) {
    CHECK(text.size() <= std::numeric_limits<std::uint16_t>::max(), "a stop string is short");
    Stop& stop = stops_.emplace_back(Stop{text, std::vector<std::uint16_t>(text.size()), 0});
    for (std::size_t i = 1, seen = 0; i < text.size(); ++i) {
      seen = NextSeen(stop, seen, text[i]);
      stop.borders[i] = static_cast<std::uint16_t>(seen);
    }
  }
}

StopMatcher::Result StopMatcher::Push(std::string_view text) {
  if (has_matched()) return {"", matched_};
  std::string seen = std::exchange(held_, {});
  for (const char c : text) {
    seen.push_back(c);
    matched_ = Step(c);
    if (matched_ < 0) continue;
    seen.resize(seen.size() - stops_[static_cast<std::size_t>(matched_)].text.size());
    return {std::move(seen), matched_};
  }
  std::size_t held = 0;
  for (const Stop& stop : stops_) held = std::max(held, stop.seen);
  held_ = seen.substr(seen.size() - held);
  seen.resize(seen.size() - held);
  return {std::move(seen), -1};
}

std::string StopMatcher::Flush() {
  for (Stop& stop : stops_) stop.seen = 0;
  matched_ = -1;
  return std::exchange(held_, {});
}

int StopMatcher::Step(char c) {
  int longest = -1;
  std::size_t length = 0;
  for (std::size_t i = 0; i < stops_.size(); ++i) {
    Stop& stop = stops_[i];
    if (stop.text.empty()) continue;
    stop.seen = NextSeen(stop, stop.seen, c);
    if (stop.seen < stop.text.size() || stop.seen <= length) continue;
    longest = static_cast<int>(i);
    length = stop.seen;
  }
  return longest;
}

// REQUIRES: seen < stop.text.size(), and the borders of as many bytes are known.
std::size_t StopMatcher::NextSeen(const Stop& stop, std::size_t seen, char c) {
  while (seen > 0 && stop.text[seen] != c) seen = stop.borders[seen - 1];
  return stop.text[seen] == c ? seen + 1 : 0;
}

std::size_t StopMatcher::BytesOf(const std::vector<std::string>& stops) {
  std::size_t bytes = stops.size() * sizeof(Stop);
  for (const std::string& text : stops) bytes += text.size() * (1 + sizeof(std::uint16_t));
  return bytes;
}

}  // namespace thinkwire::worker::text
