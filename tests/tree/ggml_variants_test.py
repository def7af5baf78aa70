#!/usr/bin/env python3
"""scripts/ggml_variants.py with a backend of four lines: which variant a program takes, and that
variants share nothing."""
import os
import subprocess
import sys
import unittest
from unittest import mock

sys.dont_write_bytecode = True

from script_case import ROOT, FolderCase

sys.path.insert(0, str(ROOT / "scripts"))

import ggml_variants

C_COMPILER, COMPILER = os.environ["HEED_CC"].split(), os.environ["HEED_CXX"].split()
HEADER = "int ggml_number(int);\nint ggml_sum(int, int);\nint ggml_of_no_variant(void);\n"
# At -O0 `own` stays a weak function and `added` a variable that is unique in a process: of both a
# linker keeps one for everybody.
BACKEND = """template <class T> T own(T value) { static T added = VARIANT; return value + added; }
extern "C" int ggml_number(int value) { return own(value); }
extern "C" int ggml_sum(int a, int b) { return own(a) + ggml_number(b); }
extern "C" int helper() { return VARIANT; }
"""
PROGRAM = """#include <cstdio>
extern "C" int ggml_number(int);
extern "C" int ggml_sum(int, int);
extern "C" int helper() { return 0; }  // a name that variants have too
static int early = ggml_number(0);
int main() { std::printf("%d %d %d\\n", early, ggml_number(0), ggml_sum(0, 0)); }
"""


def run(command):
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)


class Variants(FolderCase):
    def archive(self, name, number, more=""):
        source = self.folder / f"{name}.cpp"
        source.write_text(BACKEND + more)
        run([*COMPILER, "-O0", "-fPIC", f"-DVARIANT={number}", "-c", source, "-o",
             source.with_suffix(".o")])
        run(["ar", "rcs", source.with_suffix(".a"), source.with_suffix(".o")])
        return source.with_suffix(".a")

    def combine(self, variants, archives):
        header, library = self.folder / "ggml-cpu.h", self.folder / "libggml-cpu.a"
        header.write_text(HEADER)
        with mock.patch.object(ggml_variants, "VARIANTS", variants):
            ggml_variants.combine(archives, header, library, C_COMPILER, run)
        return library

    def answer(self, variants):
        library = self.combine(variants, {
            name: self.archive(name, at + 1) for at, (name, _, _) in enumerate(variants)})
        source = self.folder / "program.cpp"
        source.write_text(PROGRAM)
        run([*COMPILER, source, library, "-o", self.folder / "program"])
        return subprocess.run([self.folder / "program"], stdout=subprocess.PIPE, text=True,
                              check=True).stdout.split()

    @unittest.skipUnless(os.uname().machine == "x86_64", "the variants are of x86-64")
    def test_the_last_variant_that_the_processor_supports_answers_alone(self):
        every, never = ["sse2"], ["avx512er", "sse4a", "xop"]  # of no processor together
        for variants, expected in (
                ([("base", [], [])], 1),
                ([("base", [], []), ("more", [], every)], 2),
                ([("base", [], []), ("more", [], every), ("most", [], never)], 2),
                ([("base", [], []), ("most", [], never), ("more", [], every)], 3),
                ([("base", [], []), ("mixed", [], every + never)], 1)):
            with self.subTest(variants=[name for name, _, _ in variants]):
                self.assertEqual(self.answer(variants),
                                 [str(expected), str(expected), str(2 * expected)])

    def test_a_backend_that_runs_code_before_the_choice_is_refused(self):
        archive = self.archive("eager", 1, "int eager = ggml_number(1);\n")
        with self.assertRaisesRegex(ggml_variants.Failed, "constructors"):
            self.combine([("eager", [], [])], {"eager": archive})

    def test_each_variant_adds_to_the_lowest_and_is_told_what_it_lacks(self):
        self.assertEqual(ggml_variants.VARIANTS[0], ("x64", [], []))
        for name, features, bits in ggml_variants.VARIANTS[1:]:
            self.assertTrue({"avx2", "fma", "f16c"} <= set(bits), name)
            flags = ggml_variants.cmake_flags(features)
            on = {flag.split("_", 1)[1][:-3] for flag in flags if flag.endswith("=ON")}
            self.assertEqual(on, set(features), name)
            self.assertEqual(len(flags), 1 + len(ggml_variants.FEATURES))
            # A bit for each feature: a variant must not be chosen on less than it was built with.
            self.assertGreaterEqual(len(bits), len(features), name)


if __name__ == "__main__":
    unittest.main()
