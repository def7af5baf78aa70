#!/usr/bin/env python3
"""bench/compare/load.py: how turns are taken, and what is made of their rows."""
import argparse
import sys
import unittest
from unittest import mock

sys.dont_write_bytecode = True

from script_case import ROOT

sys.path.insert(0, str(ROOT / "bench" / "compare"))

import load


class Loading(unittest.TestCase):
    def rows(self, *loads, ready=1.0):
        """heed's loads take so many times as long as llama.cpp's."""
        size = {"resident_bytes": 2**20, "peak_bytes": 2**21}
        return {"heed": [{"load_s": 2 * each, "ready_s": 3 * ready, **size} for each in loads],
                "llama.cpp": [{"load_s": 2.0, "ready_s": 3.0, **size} for _ in loads]}

    def test_the_mark_holds_for_the_load_and_for_the_first_logits(self):
        self.assertTrue(load.passes(self.rows(1.5)))
        self.assertFalse(load.passes(self.rows(1.51)))
        self.assertFalse(load.passes(self.rows(1.0, ready=1.51)))
        self.assertTrue(load.passes(self.rows(1.0, 1.0, 9.0)))

    def test_a_line_has_both_medians_and_the_median_of_the_ratios(self):
        self.assertEqual(load.table_line("folder/a.gguf", self.rows(1.0, 0.5, 2.0), "pass"),
                         "| a.gguf | 2.00 / 2.00 = **1.00** | 3.00 / 3.00 = **1.00** | "
                         "1 / 1 = **1.00** | 2 / 2 = **1.00** | pass |")

    def turns(self, **options):
        """Which engine was measured when, and the rows."""
        asked = []
        with mock.patch.object(load, "measure", lambda file, engine, _: asked.append(engine)):
            rows = load.turns("a.gguf", argparse.Namespace(rounds=2, threads=1, **options))
        return asked, [len(rows[engine]) for engine in load.ENGINES]

    def test_engines_begin_by_turns_and_the_first_reads_do_not_count(self):
        asked, rows = self.turns(prompt=load.SHORT)
        self.assertEqual(asked[2:], ["heed", "llama.cpp", "llama.cpp", "heed"])
        self.assertEqual(rows, [2, 2])

    def test_a_long_prompt_reads_the_weights_itself(self):
        asked, rows = self.turns(prompt=32768)
        self.assertEqual(asked, ["heed", "llama.cpp", "llama.cpp", "heed"])
        self.assertEqual(rows, [2, 2])


if __name__ == "__main__":
    unittest.main()
