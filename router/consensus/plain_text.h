#pragma once

#include <string>
#include <string_view>

namespace thinkwire::router::consensus {

// `text` without what only its looks are made of, so that the same result reads the same:
//
// - Markdown (** but in 2**3, and `), $ and \( \) \[ \] around formulas, currencies ($ \$ € £), %
// and \%, degrees
//   (° ^\circ \degree), \left and \right, sizes and styles (\big, \displaystyle, ...), LaTeX's
//   spaces
//   (\, \! \; \: ~ \quad, ...; of those that separate words a blank is left);
// - \text{...}, \mathrm{...}, \textbf{...} and their like: what stands in them is left;
// - \dfrac, \tfrac and \cfrac are \frac, \cdot and \times are *, \leq is \le, and so on; signs of
//   Unicode are the command or the ASCII sign that means the same;
// - \frac12 is \frac{1}{2}, \sqrt2 is \sqrt{2}, x^{2} is x^2, 1{,}000 is 1,000;
// - letters are lower case but those of commands; blanks stand between letters and digits only,
// one,
//   and between a comma and a digit, as thousands have none there.
//
// The rules are those of the MATH benchmark's comparison of results (`strip_string` of
// github.com/hendrycks/math, modeling/math_equivalence.py) and of appendix D.1 of arXiv:2206.14858,
// and some more of the same kind. Linear in the text. Threads: any.
std::string PlainText(std::string_view text);

}  // namespace thinkwire::router::consensus
