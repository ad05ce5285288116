#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace thinkwire::worker::text {

// A Jinja template in a normal form: two templates with equal pieces render alike. Each piece is a
// tag or the text between two: "%" with a statement, "{" with an expression, "=" with text.
// 1. Text is what transformers leaves of it, which renders with trim_blocks and lstrip_blocks;
//    where that is nothing there is no piece. Comments and the marks that trim are gone.
// 2. Tags have no white space where it separates nothing, and their strings single quotes where
//    they hold no quote themselves, and `\n` for a line feed.
// What is no template comes out somehow; nothing is refused.
std::vector<std::string> TemplatePieces(std::string_view source);

}  // namespace thinkwire::worker::text
