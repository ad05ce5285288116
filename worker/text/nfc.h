#pragma once

#include <string>
#include <string_view>

namespace thinkwire::worker::text {

// `utf8` (valid) in Unicode normalisation form C: itself if a quick check finds that it already is,
// else the normalised text in `*buffer`, which the result then points into. Time: O(n log n), and
// nearly linear where no character has thousands of marks.
//
// Characters that came after Unicode 9.0 stay as they are and where they are, as in Hugging Face
// `tokenizers`, whose tables are of that version: models have been trained on its ids.
std::string_view NormalizeNfc(std::string_view utf8, std::string* buffer);

}  // namespace thinkwire::worker::text
