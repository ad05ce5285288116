#include "worker/hub/range_fetch.h"

#include <algorithm>
#include <cstddef>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace thinkwire::worker::hub {
namespace {

absl::Status OtherLength(const RangeRequest& request, const HttpReply& reply) {
  return absl::DataLossError(absl::StrCat(
      request.name, ": has ", request.bytes, " bytes by the hub's word, but is sent as status ",
      reply.status, ", content-length '", reply.Header("content-length"), "', content-range '",
      reply.Header("content-range"), "'"));
}

// One request of what is left of the range.
class Attempt {
 public:
  Attempt(const RangeRequest& request, std::int64_t at,
          const std::function<absl::Status(std::string_view)>& take)
      : request_(request), take_(take), at_(at) {}

  absl::Status Run(HttpConnection& connection) {
    const std::string range = request_.whole ? "" : absl::StrCat(at_, "-", request_.end - 1);
    const auto reply = connection.Get(
        request_.url, range,
        [this](const HttpReply& head, std::string_view bytes) { return Take(head, bytes); });
    if (!fatal_.ok()) return fatal_;
    if (!broken_.ok()) return broken_;
    if (!reply.ok()) return reply.status();
    retry_after_s_ = reply->retry_after_s;
    if (reply->status == 200 || reply->status == 206) {
      if (at_ == request_.end) return absl::OkStatus();
      return absl::UnavailableError(absl::StrCat(request_.name, ": the connection ended early"));
    }
    const std::string what =
        absl::StrCat(request_.name, ": the hub's store answers ", reply->status);
    if (IsWorthAnotherTry(*reply)) return absl::UnavailableError(what);
    fatal_ = absl::FailedPreconditionError(what);
    return fatal_;
  }

  std::int64_t at() const { return at_; }
  bool is_final() const { return !fatal_.ok(); }
  std::int64_t retry_after_s() const { return retry_after_s_; }

 private:
  // What the first bytes' head says. Sets skip_.
  absl::Status Check(const HttpReply& reply) {
    std::int64_t length = 0;
    if (reply.status == 200) {
      const bool all = at_ == 0 && request_.end == request_.bytes;
      if (!request_.whole && !all) {
        return absl::UnimplementedError(absl::StrCat(request_.name, ": ranges are ignored"));
      }
      skip_ = at_;
      const bool known = absl::SimpleAtoi(reply.Header("content-length"), &length);
      return known && length != request_.bytes ? OtherLength(request_, reply) : absl::OkStatus();
    }
    const std::string wanted =
        absl::StrCat("bytes ", at_, "-", request_.end - 1, "/", request_.bytes);
    if (request_.whole || reply.Header("content-range") != wanted) {
      return OtherLength(request_, reply);
    }
    return absl::OkStatus();
  }

  bool Take(const HttpReply& reply, std::string_view bytes) {
    if (!checked_) {
      const absl::Status status = Check(reply);
      (absl::IsUnimplemented(status) ? fatal_ : broken_) = status;
      if (!status.ok()) return false;
      checked_ = true;
    }
    const auto skipped = std::min(skip_, static_cast<std::int64_t>(bytes.size()));
    skip_ -= skipped;
    bytes.remove_prefix(static_cast<std::size_t>(skipped));
    if (at_ + static_cast<std::int64_t>(bytes.size()) > request_.end) {
      broken_ = OtherLength(request_, reply);
      return false;
    }
    fatal_ = take_(bytes);
    if (!fatal_.ok()) return false;
    at_ += static_cast<std::int64_t>(bytes.size());
    return true;
  }

  const RangeRequest& request_;
  const std::function<absl::Status(std::string_view)>& take_;
  std::int64_t at_;
  std::int64_t skip_ = 0;
  bool checked_ = false;
  absl::Status fatal_{};   // would be the same another time
  absl::Status broken_{};  // might not
  std::int64_t retry_after_s_ = 0;
};

}  // namespace

absl::Status FetchRange(HttpConnection& connection, Backoff backoff, const RangeRequest& request,
                        const std::function<absl::Status(std::string_view)>& take) {
  std::int64_t at = request.first;
  while (at < request.end) {
    Attempt attempt(request, at, take);
    const absl::Status status = attempt.Run(connection);
    if (attempt.at() > at) backoff.Progressed();
    at = attempt.at();
    if (status.ok()) return status;
    if (attempt.is_final() || !backoff.Wait(attempt.retry_after_s())) return status;
  }
  return absl::OkStatus();
}

}  // namespace thinkwire::worker::hub
