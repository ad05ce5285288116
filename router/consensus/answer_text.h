#pragma once

#include <string_view>

namespace thinkwire::router::consensus {

// The part of an answer's text that says the result, as it stands there:
//
// 1. what stands in the last \boxed{...} or \fbox{...} that is closed, braces in it in pairs (the
//    innermost of nested ones), or the word after a \boxed without braces. So the MATH benchmark
//    asks for results (Hendrycks et al., "Measuring Mathematical Problem Solving With the MATH
//    Dataset", arXiv:2103.03874), and so the R1 distills give them;
// 2. else what follows the marker in the last line that has one: "answer" and after it "is", "are",
//    a colon or "=" ("The final answer is 5. I hope it is correct.", as in appendix D.1 of
//    "Solving Quantitative Reasoning Problems with Language Models", arXiv:2206.14858), "####"
//    before a number (GSM8K, arXiv:2110.14168); where nothing follows, the next line with a word;
// 3. else the last line with anything but blanks.
//
// Empty: there is none of these, or the box is empty. Linear in the text, and memory in the number
// of boxes that are open at once. Threads: any.
std::string_view FindAnswer(std::string_view text);

}  // namespace thinkwire::router::consensus
