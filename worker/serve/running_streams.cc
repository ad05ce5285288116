#include "worker/serve/running_streams.h"

#include <functional>
#include <unordered_map>

#include "common/mutex.h"
#include "common/strings.h"

namespace thinkwire::worker::serve {
namespace {

// Names of tenants have no zero byte.
std::string KeyOf(std::string_view request_id, std::string_view tenant) {
  std::string key(tenant);
  key.append(1, '\0').append(request_id);
  return key;
}

}  // namespace

struct RunningStreams::Map {
  mutable Mutex mu;
  std::unordered_multimap<std::string, std::weak_ptr<ResponseStream>, StringHash, std::equal_to<>>
      streams ABSL_GUARDED_BY(mu);
};

RunningStreams::Entry::Entry(std::shared_ptr<Map> map, std::string key,
                             std::weak_ptr<ResponseStream> stream)
    : map_(std::move(map)), key_(std::move(key)), stream_(std::move(stream)) {
  MutexLock lock(map_->mu);
  map_->streams.emplace(key_, stream_);
}

RunningStreams::Entry& RunningStreams::Entry::operator=(Entry&& other) noexcept {
  if (this == &other) return *this;
  Leave();
  map_ = std::move(other.map_);
  key_ = std::move(other.key_);
  stream_ = std::move(other.stream_);
  return *this;
}

void RunningStreams::Entry::Leave() {
  const std::shared_ptr<Map> map = std::move(map_);
  if (map == nullptr) return;
  MutexLock lock(map->mu);
  const auto [first, last] = map->streams.equal_range(key_);
  for (auto it = first; it != last; ++it) {
    if (it->second.owner_before(stream_) || stream_.owner_before(it->second)) continue;
    map->streams.erase(it);
    return;
  }
}

RunningStreams::RunningStreams() : map_(std::make_shared<Map>()) {}

RunningStreams::Entry RunningStreams::Enter(std::string_view request_id, std::string_view tenant,
                                            std::weak_ptr<ResponseStream> stream) {
  return {map_, KeyOf(request_id, tenant), std::move(stream)};
}

std::vector<std::shared_ptr<ResponseStream>> RunningStreams::Find(std::string_view request_id,
                                                                  std::string_view tenant) const {
  std::vector<std::shared_ptr<ResponseStream>> found;
  MutexLock lock(map_->mu);
  const auto [first, last] = map_->streams.equal_range(KeyOf(request_id, tenant));
  for (auto it = first; it != last; ++it) {
    if (auto stream = it->second.lock()) found.push_back(std::move(stream));
  }
  return found;
}

}  // namespace thinkwire::worker::serve
