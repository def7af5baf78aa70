#!/usr/bin/env python3
"""bench/compare/run_turns.py: how turns are taken, what must be equal, and what is made of it."""
import contextlib
import io
import sys
import unittest

sys.dont_write_bytecode = True

from script_case import ROOT

sys.path.insert(0, str(ROOT / "bench" / "compare"))

import run_turns


class Turns(unittest.TestCase):
    def reports(self, *seconds):
        return [{"generated_tokens": 11, "timings": {"decode_s": each}} for each in seconds]

    def turns(self, variants, rounds, measure):
        with contextlib.redirect_stderr(io.StringIO()):
            return run_turns.in_turns(variants, rounds, measure)

    def test_variants_begin_by_turns_and_first_runs_do_not_count(self):
        asked = []

        def measure(words):
            asked.append(words[0])
            return {"text": "same"}

        rows = self.turns({"a": ["A"], "b": ["B"]}, 2, measure)
        self.assertEqual(asked, ["A", "B", "A", "B", "B", "A"])
        self.assertEqual([len(rows[name]) for name in "ab"], [2, 2])

    def test_another_answer_ends_the_program(self):
        with self.assertRaisesRegex(SystemExit, "'b' answers differently"):
            self.turns({"a": ["A"], "b": ["B"]}, 1, lambda words: {"text": words[0]})
        one, two = {"answers": [{"text": "x"}, {"text": "y"}]}, {"answers": [{"text": "x"}]}
        with self.assertRaises(SystemExit):
            self.turns({"a": one, "b": two}, 1, lambda report: report)

    def test_ratios_are_of_the_same_turn(self):
        rows = {"plain": self.reports(1.0, 2.0, 4.0), "lookup": self.reports(0.5, 2.0, 1.0)}
        ratios = run_turns.speedups(rows, "plain", "lookup", run_turns.decode_rate)
        self.assertEqual(ratios, [2.0, 1.0, 4.0])
        self.assertAlmostEqual(run_turns.decile(ratios), 1.2)
        self.assertEqual(run_turns.line(rows, "plain", "lookup", ["x"], run_turns.decode_rate),
                         "| lookup | x | 2.000 | 1.200 |")

    def test_several_answers_count_together(self):
        report = {"answers": [{"generated_tokens": 11, "decode_s": 1.0},
                              {"generated_tokens": 21, "decode_s": 2.0}]}
        self.assertEqual(run_turns.decode_rate(report), 15.0)

    def test_what_stands_behind_the_dashes_goes_to_every_run(self):
        options = run_turns.parsed(["drafts", "m.gguf", "--lookup", "--", "-t", "2"])
        self.assertEqual(options.more, ["-t", "2"])
        self.assertTrue(options.lookup)
        self.assertEqual(run_turns.parsed(["order", "m.gguf"]).more, [])


if __name__ == "__main__":
    unittest.main()
