#!/usr/bin/env python3
"""What scripts/bench calls a pass: rates against their marks, and the KL of the same rows."""
import contextlib
import io
import json
import sys
import unittest

sys.dont_write_bytecode = True

from script_case import FolderCase, load_script


def pair(ratio=2.0, p10=1.5, heed_kl=1e-3, llama_kl=1e-3, repeats=5):
    row = {"test": "pp4096", "depth": 0, "repeats": repeats, "measured_over_predicted": None}
    return [{**row, "engine": "heed", "kl_vs_ref": heed_kl, "ratio_vs": {"llama.cpp": ratio},
             "ratio_p10": {"llama.cpp": p10}},
            {**row, "engine": "llama.cpp", "kl_vs_ref": llama_kl, "ratio_vs": {}, "ratio_p10": {}}]


class Marks(FolderCase):
    def setUp(self):
        super().setUp()
        self.bench = load_script("bench")
        self.bench.OUT = self.folder

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

    def test_a_report_of_other_instructions_than_avx2_is_no_avx2_report(self):
        self.bench.model_of = lambda name: name
        self.bench.AVX2_HEED = self.bench.ROOT / "models.json"  # something that is there
        asked = []
        for isa, ggml, fine in (("avx2", "avx2", True), ("avx2", "avx512", False),
                                ("avx512", "avx2", False)):
            report = {"machine": {"isa": isa, "ggml": ggml}, "rows": []}
            self.bench.heed_bench = lambda *words, **variables: asked.append(
                (words, variables)) or report
            if fine:
                self.bench.compare_avx2("avx2-qwen")
                self.assertEqual(self.bench.read("avx2-qwen"), report)
            else:
                self.assertRaises(SystemExit, self.bench.compare_avx2, "avx2-qwen")
        (_, arguments, binary), variables = asked[0]
        self.assertEqual(arguments[:2], ["-m", "qwen"])
        self.assertEqual((binary, variables), (self.bench.AVX2_HEED, {"HEED_ISA": "avx2"}))

    def test_the_avx2_pieces_say_how_to_build_what_they_run(self):
        self.bench.AVX2_HEED = self.bench.ROOT / "no such build"
        with self.assertRaises(SystemExit) as stopped:
            self.bench.compare_avx2("avx2-qwen")
        self.assertIn("scripts/bootstrap --isa avx2", str(stopped.exception))

    def test_the_fastest_tenth_lies_between_neighbours(self):
        self.assertAlmostEqual(self.bench.quantile([3.0, 1.0, 2.0], 0.1), 1.2)
        self.assertEqual(self.bench.quantile([5.0], 0.1), 5.0)


if __name__ == "__main__":
    unittest.main()
