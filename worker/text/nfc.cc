#include "worker/text/nfc.h"

#include <unicode/bytestream.h>
#include <unicode/normalizer2.h>
#include <unicode/stringpiece.h>
#include <unicode/uniset.h>

#include <algorithm>
#include <cstdint>
#include <limits>

#include "common/check.h"

namespace thinkwire::worker::text {
namespace {

// Every character below U+0300 is in form C and does not combine with a character before it.
bool IsSurelyNfc(std::string_view utf8) {
  constexpr uint8_t kLeadByteOfU0300 = 0xCC;
  return std::all_of(utf8.begin(), utf8.end(),
                     [](char c) { return static_cast<uint8_t>(c) < kLeadByteOfU0300; });
}

icu::UnicodeSet CharactersOfUnicode9() {
  UErrorCode error = U_ZERO_ERROR;
  icu::UnicodeSet set(u"[:age=9.0:]", error);
  CHECK(U_SUCCESS(error), "ICU's data for the age of characters is not there");
  set.freeze();
  return set;
}

// Constant once made.
const icu::Normalizer2& Nfc() {
  static const icu::UnicodeSet characters = CharactersOfUnicode9();
  UErrorCode error = U_ZERO_ERROR;
  const icu::Normalizer2* nfc = icu::Normalizer2::getNFCInstance(error);
  CHECK(U_SUCCESS(error), "ICU's data for form C is not there");
  static const icu::FilteredNormalizer2 filtered(*nfc, characters);
  return filtered;
}

}  // namespace

std::string_view NormalizeNfc(std::string_view utf8, std::string* buffer) {
  if (IsSurelyNfc(utf8)) return utf8;
  CHECK(utf8.size() <= std::numeric_limits<int32_t>::max(), "a text is at most 2 GiB");
  const icu::StringPiece piece(utf8.data(), static_cast<int32_t>(utf8.size()));
  UErrorCode error = U_ZERO_ERROR;
  if (Nfc().isNormalizedUTF8(piece, error) && U_SUCCESS(error)) return utf8;
  buffer->clear();
  buffer->reserve(utf8.size());
  icu::StringByteSink<std::string> sink(buffer);
  error = U_ZERO_ERROR;
  Nfc().normalizeUTF8(0, piece, sink, nullptr, error);
  CHECK(U_SUCCESS(error), "ICU could not normalise valid UTF-8");
  return *buffer;
}

}  // namespace thinkwire::worker::text
