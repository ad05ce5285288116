#include "worker/parallel/handshake.h"

#include <cstddef>
#include <optional>

#include "absl/strings/str_cat.h"
#include "common/shown_text.h"
#include "common/status.h"
#include "common/strings.h"

namespace thinkwire::worker::parallel {
namespace {

constexpr std::size_t kMaxSentenceBytes = 4096;
constexpr std::string_view kStranger = "a stranger without the group's token";

// What is signed: who says what kind of thing, for which connection.
std::string Signed(std::string_view kind, std::string_view nonces, std::string_view text) {
  return absl::StrCat("thinkwire group ", View(kind), "\n", View(nonces), View(text));
}

}  // namespace

absl::StatusOr<Greeting> LeaderHandshake::Hear() {
  nonces_ = NewNonce();
  RETURN_IF_ERROR(link_.Send(FrameKind::kChallenge, 0, nonces_));
  ASSIGN_OR_RETURN(const Frame frame,
                   link_.ReceiveAny(kNonceBytes + kSignatureBytes + kMaxGreetingBytes));
  if (frame.kind != FrameKind::kGreeting || frame.payload.size() < kNonceBytes + kSignatureBytes) {
    return absl::PermissionDeniedError("a stranger who did not greet");
  }
  const std::string_view payload(frame.payload);
  nonces_ += payload.substr(0, kNonceBytes);
  const std::string_view signature = payload.substr(kNonceBytes, kSignatureBytes);
  const std::string_view text = payload.substr(kNonceBytes + kSignatureBytes);
  if (!key_.HasSigned(Signed("greeting", nonces_, text), signature)) {
    Refuse(kStranger);
    return absl::PermissionDeniedError(kStranger.data());
  }
  const std::optional<Greeting> greeting = DecodeGreeting(text);
  if (greeting) return *greeting;
  Refuse("its greeting is of another version than the leader's");
  return absl::FailedPreconditionError("one of the group greets in another version's form");
}

absl::Status LeaderHandshake::Admit() {
  return link_.Send(FrameKind::kAdmitted, 0, key_.Sign(Signed("admission", nonces_, "")));
}

void LeaderHandshake::Refuse(std::string_view sentence) {
  const std::string text(sentence.substr(0, kMaxSentenceBytes));
  const std::string signature = key_.Sign(Signed("refusal", nonces_, text));
  link_.Send(FrameKind::kRefused, 0, signature + text).IgnoreError();
}

absl::Status FollowerHandshake::Greet(const Greeting& greeting) {
  ASSIGN_OR_RETURN(const Frame challenge, link_.ReceiveAny(kNonceBytes));
  if (challenge.kind != FrameKind::kChallenge || challenge.payload.size() != kNonceBytes) {
    return absl::InvalidArgumentError(absl::StrCat(link_.peer(), " leads no group"));
  }
  const std::string own = NewNonce();
  nonces_ = challenge.payload + own;
  const std::string text = EncodeGreeting(greeting);
  const std::string signature = key_.Sign(Signed("greeting", nonces_, text));
  RETURN_IF_ERROR(link_.Send(FrameKind::kGreeting, 0, own + signature + text));
  return HearAnswer();
}

absl::Status FollowerHandshake::HearAnswer() {
  ASSIGN_OR_RETURN(const Frame answer, link_.ReceiveAny(kSignatureBytes + kMaxSentenceBytes));
  const std::string_view payload(answer.payload);
  const std::string_view signature = payload.substr(0, kSignatureBytes);
  if (answer.kind == FrameKind::kAdmitted && payload.size() == kSignatureBytes &&
      key_.HasSigned(Signed("admission", nonces_, ""), signature)) {
    return absl::OkStatus();
  }
  const std::string_view sentence = payload.substr(signature.size());
  if (answer.kind == FrameKind::kRefused &&
      key_.HasSigned(Signed("refusal", nonces_, sentence), signature)) {
    return absl::FailedPreconditionError(
        absl::StrCat(link_.peer(), " refuses: ", ShownLine(sentence, kMaxSentenceBytes)));
  }
  return absl::FailedPreconditionError(
      absl::StrCat(link_.peer(), " has another token than this process"));
}

}  // namespace thinkwire::worker::parallel
