#!/usr/bin/env python3
"""Writes the tables of unicode_tables.h from the files of Unicode's character database.

Usage: unicode_tables.py FOLDER OUT.cc   FOLDER: Debian's /usr/share/unicode
"""
import pathlib
import sys

CODE_POINTS = 0x110000
LAST_AGE = (9, 0)


def lines_of(path):
    """The fields of each line that has any, comments left out."""
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = [field.strip() for field in line.split("#")[0].split(";")]
        if fields[0]:
            yield fields


def points_of(text):
    first, _, last = text.partition("..")
    return range(int(first, 16), int(last or first, 16) + 1)


def property_set(path, *wanted):
    """The code points of a file of properties whose fields after the first are `wanted`."""
    return {c for fields in lines_of(path) if tuple(fields[1:]) == wanted for c in points_of(fields[0])}


def characters(path):
    """(code point, fields) of all assigned characters of UnicodeData.txt."""
    first = None
    for fields in lines_of(path):
        c = int(fields[0], 16)
        if fields[1].endswith(", First>"):
            first = c
            continue
        for one in range(first if first is not None else c, c + 1):
            yield one, fields
        first = None


def ranges(values):
    """(first, last, value) of neighbours with equal values, of a dict by code point."""
    result = []
    for c in sorted(values):
        if result and result[-1][1] == c - 1 and result[-1][2] == values[c]:
            result[-1][1] = c
        else:
            result.append([c, c, values[c]])
    return result


def decompose(c, mappings):
    return [d for part in mappings[c] for d in decompose(part, mappings)] if c in mappings else [c]


def initializer(value):
    """`value` as C++ initializes it: a number, or what a struct or an array holds."""
    if isinstance(value, int):
        return hex(value)
    return f"{{{', '.join(map(initializer, value))}}}"


def table(name, kind, rows):
    body = "".join(f"    {initializer(row)},\n" for row in rows)
    return (f"constexpr {kind} k{name}Rows[] = {{\n{body}}};\n"
            f"const std::span<const {kind}> k{name} = k{name}Rows;\n\n")


def tables(folder):
    data = dict(characters(folder / "UnicodeData.txt"))
    core, normal = folder / "DerivedCoreProperties.txt", folder / "DerivedNormalizationProps.txt"
    properties = folder / "PropList.txt"
    aged = {c for fields in lines_of(folder / "DerivedAge.txt")
            if tuple(map(int, fields[1].split("."))) <= LAST_AGE for c in points_of(fields[0])}
    word = property_set(core, "Alphabetic") | property_set(properties, "Join_Control")
    word |= {c for c, fields in data.items() if fields[2] in ("Mn", "Mc", "Me", "Nd", "Pc")}
    unsure = property_set(normal, "NFC_QC", "N") | property_set(normal, "NFC_QC", "M")
    excluded = property_set(normal, "Full_Composition_Exclusion")
    classes = {c: int(f[3]) for c, f in data.items() if c in aged and f[3] != "0"}
    mappings = {c: [int(part, 16) for part in f[5].split()]
                for c, f in data.items() if c in aged and f[5] and not f[5].startswith("<")}

    def members(name, points):
        rows = [(first, last) for first, last, _ in ranges(dict.fromkeys(points, True))]
        return table(name, "CharacterRange", rows)

    yield members("WordCharacters", word)
    yield members("WhiteSpace", property_set(properties, "White_Space"))
    yield members("Unicode9", aged)
    yield members("UnsureInFormC", unsure & aged)
    yield table("CombiningClasses", "ClassRange", ranges(classes))
    yield table("Decompositions", "Decomposition", [
        (c, (decompose(c, mappings) + [0] * 4)[:4]) for c in sorted(mappings)
    ])
    yield table("Compositions", "Composition", sorted(
        (*parts, c) for c, parts in mappings.items() if len(parts) == 2 and c not in excluded))


def main():
    folder, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    text = ('#include "worker/text/unicode_tables.h"\n\nnamespace thinkwire::worker::text {\n\n'
            + "".join(tables(folder)) + "}  // namespace thinkwire::worker::text\n")
    out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
