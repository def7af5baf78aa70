#!/usr/bin/env python3
"""What scripts/bench calls a pass: rates against their marks, and the KL of the rows they are of."""
import contextlib
import importlib.machinery
import importlib.util
import io
import json
import pathlib
import sys
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "bench"


def load_bench():
    loader = importlib.machinery.SourceFileLoader("bench", str(SCRIPT))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("bench", loader))
    sys.dont_write_bytecode = True
    loader.exec_module(module)
    return module


def pair(ratio=2.0, p10=1.5, heed_kl=1e-3, llama_kl=1e-3, repeats=5):
    row = {"test": "pp4096", "depth": 0, "repeats": repeats, "measured_over_predicted": None}
    return [{**row, "engine": "heed", "kl_vs_ref": heed_kl, "ratio_vs": {"llama.cpp": ratio},
             "ratio_p10": {"llama.cpp": p10}},
            {**row, "engine": "llama.cpp", "kl_vs_ref": llama_kl, "ratio_vs": {}, "ratio_p10": {}}]


class Marks(unittest.TestCase):
    def setUp(self):
        keep = tempfile.TemporaryDirectory()
        self.addCleanup(keep.cleanup)
        self.bench = load_bench()
        self.bench.OUT = pathlib.Path(keep.name)

    def judge(self, rows, marks=None):
        (self.bench.OUT / "qwen.json").write_text(json.dumps({"rows": rows}))
        self.printed = io.StringIO()
        with contextlib.redirect_stdout(self.printed):
            return self.bench.judge_rows("qwen", {("pp4096", 0): 1.25} if marks is None else marks)

    def test_rates_are_held_to_their_median_and_their_lower_decile(self):
        self.assertTrue(self.judge(pair()))
        self.assertFalse(self.judge(pair(ratio=1.24)))
        self.assertFalse(self.judge(pair(p10=0.96)))
        self.assertTrue(self.judge(pair(p10=0.96, repeats=4)))
        self.assertFalse(self.judge(pair(), {("pp16384", 0): 1.9}))

    def test_the_kl_of_heed_is_at_most_a_tenth_above_llama_cpps(self):
        self.assertTrue(self.judge(pair(heed_kl=1.1e-3)))
        self.assertFalse(self.judge(pair(heed_kl=1.11e-3)))
        self.assertTrue(self.judge(pair(heed_kl=0.9e-6, llama_kl=0.0)))
        self.assertFalse(self.judge(pair(heed_kl=1.1e-6, llama_kl=0.0)))
        self.assertTrue(self.judge(pair(heed_kl=0.0, llama_kl=0.0)))

    def test_the_worst_pair_decides_in_one_line(self):
        worse = [{**row, "depth": 7} for row in pair(heed_kl=2e-3)]
        self.assertFalse(self.judge(pair() + worse))
        lines = [line for line in self.printed.getvalue().splitlines() if "KL" in line]
        self.assertEqual(len(lines), 1)
        self.assertIn("FAIL", lines[0])
        self.assertIn("0.55", lines[0])

    def test_a_row_without_its_kl_is_no_pass(self):
        self.assertFalse(self.judge(pair(heed_kl=None)))
        self.assertFalse(self.judge(pair(llama_kl=None)))
        self.assertIn("without kl_vs_ref", self.printed.getvalue())


if __name__ == "__main__":
    unittest.main()
