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

    def test_the_peer_check_holds_the_fastest_turns_of_both_against_each_other(self):
        rows = [{"test": test, "depth": depth, "engine": "llama.cpp",
                 "config": "flash on, repack off, ubatch 512, f16 KV"}
                for test, depth in [("pp512", 0), ("pp4096", 0), ("tg32", 0), ("tg32", 512),
                                    ("tg32", 4096)]]
        (self.bench.OUT / "qwen.json").write_text(
            json.dumps({"rows": rows, "machine": {"threads": 2}}))
        self.bench.model_of = self.bench.file_of = lambda name: name
        self.bench.PEER_TURNS = [(("pp512", 0), 3, ["-p", "512"])]
        own, alone, asked = iter([90.0, 99.0, 60.0]), iter([100.0, 70.0, 65.0]), []
        self.bench.inside_heed = lambda _, __, words: asked.append(words) or {
            ("pp512", 0): next(own)}
        self.bench.llama_bench = lambda _, __, words: asked.append(words) or {
            ("pp512", 0): next(alone)}
        self.bench.peer("peer-qwen")
        check = json.loads((self.bench.OUT / "peer-qwen.json").read_text())["checks"][0]
        self.assertEqual(check["rounds"], 3)
        self.assertAlmostEqual(check["ratio"], 0.99)
        self.assertIn("flash=on,repack=off,ubatch=512", asked[0])
        self.assertEqual(asked[1][-6:], ["-fa", "on", "--repack", 0, "-ub", "512"])

    def test_the_fastest_tenth_lies_between_neighbours(self):
        self.assertAlmostEqual(self.bench.quantile([3.0, 1.0, 2.0], 0.1), 1.2)
        self.assertEqual(self.bench.quantile([5.0], 0.1), 5.0)


if __name__ == "__main__":
    unittest.main()
