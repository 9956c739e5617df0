"""Columns of text that are no table."""

from __future__ import annotations

from hostile_files.base import Hostile, hostile

CASES: list[Hostile] = []
HEAD = "% Model:              a.mph\n% Dimension:          2\n"
NAMES = "% x                       y                        u (1)\n"


def rows(count: int) -> str:
    return "".join(f"{i}.0   {i * i}.5   {i}.25\n" for i in range(count))


@hostile(CASES, "a.txt", "a line of more than")
def a_line_of_17_megabytes(path, rng):
    path.write_text(HEAD + NAMES + "1 " * (17 << 19))


@hostile(CASES, "a.txt", "header lines")
def ten_thousand_header_lines(path, rng):
    path.write_text("% a: b\n" * 10_000 + NAMES + rows(5))


@hostile(CASES, "a.txt", "columns|numbers")
def ragged_rows(path, rng):
    path.write_text(HEAD + NAMES + rows(5) + "1 2\n" + rows(2))


@hostile(CASES, "a.txt", "could not convert|every row needs")
def words_among_numbers(path, rng):
    path.write_text(HEAD + NAMES + rows(5) + "__import__('os').mkdir('executed') 1 2\n")


@hostile(CASES, "a.txt", "every coordinate must be finite|finite|nan")
def points_that_are_nan(path, rng):
    path.write_text(HEAD + NAMES + rows(5) + "nan inf 1e999\n")


@hostile(CASES, "a.txt", "a header without rows")
def a_header_alone(path, rng):
    path.write_text(HEAD + NAMES)


@hostile(CASES, "a.txt")
def a_hundred_thousand_columns(path, rng):
    names = "   ".join(f"u{i} (1)" for i in range(100_000))
    path.write_text(HEAD + f"% x   y   {names}\n" + "1.5 " * 100_002 + "\n")


@hostile(CASES, "a.txt")
def names_with_open_parentheses(path, rng):
    path.write_text(HEAD + "% x y " + "u (" * 20_000 + " @ t=" + "\n" + rows(3))


@hostile(CASES, "a.txt")
def zero_bytes_and_other_marks(path, rng):
    path.write_bytes((HEAD + NAMES).encode() + b"\x00\xff 1 2\r\r\n" + rng.bytes(200))


@hostile(CASES, "a.txt")
def text_of_digits_without_end(path, rng):
    path.write_text(HEAD + NAMES + "9" * 4_000_000 + " 1 2\n")


@hostile(CASES, "a.csv", "two columns are called")
def columns_of_one_name(path, rng):
    path.write_text("% x,y,u,u\n1,2,3,4\n2,3,4,5\n")


@hostile(CASES, "a.txt", "second header")
def two_tables(path, rng):
    path.write_text(HEAD + NAMES + rows(3) + HEAD + NAMES + rows(3))


@hostile(CASES, "a.txt")
def frames_in_great_numbers(path, rng):
    names = "   ".join(f"u (1) @ t={t}" for t in rng.permutation(2000))
    path.write_text(HEAD + f"% x   y   {names}\n" + "".join(" ".join(["1.0"] * 2002) + "\n" for _ in range(3)))


@hostile(CASES, "a.txt")
def random_text(path, rng):
    path.write_text("% " + "".join(map(chr, rng.integers(32, 127, 3000))) + "\n1 2 3\n")
