#!/usr/bin/env python3
"""bench/compare/peers.py: how turns are taken, and what is made of the rows."""
import json
import pathlib
import sys
import types
import unittest
from unittest import mock

sys.dont_write_bytecode = True

from script_case import ROOT, FolderCase

sys.path.insert(0, str(ROOT / "bench" / "compare"))

import peer_bounds
import peer_models
import peer_report
import peers
from peer_engines import Engine, Refused
from peer_models import Model
from peer_tests import Test, batches, groups_of, parse_test, rotated

MACHINE = {"cpu": "a", "family": "1", "isa": "avx512", "threads": 2, "stream_gbps": 40,
           "peak_gflops": {"fp32": 200, "bf16": 400, "int8": 800}}
ABOUT = {"name": "a model", "file_type": "Q4_0", "layers": 2, "heads": 4, "kv_heads": 2, "dk": 64,
         "dv": 64, "window": [0, 0], "vocab": 100, "weights": [
             {"name": "blk.*.ffn_up.weight", "tensors": 2, "type": "Q4_0", "inputs": 1000,
              "outputs": 2000, "file_bytes": 2250000, "kernel": "heed int8"},
             {"name": "output.weight", "tensors": 1, "type": "Q6_K", "inputs": 1000,
              "outputs": 100, "file_bytes": 82000, "kernel": "heed int8"},
             {"name": "token_embd.weight", "tensors": 1, "type": "Q6_K", "inputs": 1000,
              "outputs": 100, "file_bytes": 82000, "kernel": "row lookup"}]}


def rate(engine, tokens_per_s, test="pp512", turn=0, model="smollm2", **more):
    return {"kind": "rate", "model": model, "engine": engine, "test": test, "turn": turn,
            "tokens_per_s": tokens_per_s, "config": "as usual", **more}


def heed(tokens_per_s, attention_s=0.1, **more):
    return rate("heed", tokens_per_s, attention_s=attention_s, machine=MACHINE, **more)


def model(name="smollm2", **more):
    return {"kind": "model", "model": name, "about": ABOUT, "layers": 0, "deeper": "", **more}


class Words(unittest.TestCase):
    def test_tests_are_read_as_they_are_written(self):
        for word in ("pp512", "tg32@0", "tg32@4096"):
            self.assertEqual(str(parse_test(word)), word)
        for word in ("pp0", "pp", "tg32", "tg0@1", "tg32@-1", "xx1"):
            self.assertRaises(ValueError, parse_test, word)

    def test_short_tests_share_a_turn_and_longer_ones_have_their_own(self):
        tests = [parse_test(word) for word in
                 ("pp8192", "tg32@4096", "pp4096", "pp128", "tg32@0", "pp2048", "pp512")]
        groups = [sorted(map(str, group)) for group in groups_of(tests)]
        self.assertEqual(groups, [["pp128", "pp512", "tg32@0"], ["pp2048"],
                                  ["pp4096", "tg32@4096"], ["pp8192"]])

    def test_a_call_of_a_benchmark_has_tests_of_one_kind_and_one_number_of_repeats(self):
        parts = batches([Test("pp", 128), Test("tg", 32, 0), Test("pp", 4096), Test("tg", 8, 0)])
        self.assertEqual([part[:3] for part in parts],
                         [("pp", 0, 1), ("pp", 0, 3), ("tg", 8, 3), ("tg", 32, 3)])
        deep = [Test("tg", 32, 4096)]
        self.assertEqual([batches(deep)[0][2], batches(deep, 3)[0][2]], [1, 3])

    def test_every_engine_is_first_once_in_as_many_turns(self):
        self.assertEqual({rotated(["a", "b", "c"], turn)[0] for turn in range(3)}, {"a", "b", "c"})
        self.assertEqual(sorted(rotated(["a", "b", "c"], 7)), ["a", "b", "c"])


class Cells(unittest.TestCase):
    def only(self, rows):
        cells = peer_report.cells_of([model(), *rows])
        self.assertEqual(len(cells), 1)
        return cells[0]

    def test_a_ratio_is_taken_within_a_turn(self):
        cell = self.only([heed(200), rate("openvino", 100), heed(900, turn=1),
                          rate("openvino", 300, turn=1), heed(50, turn=2)])
        self.assertEqual((cell["pairs"], cell["least"], cell["most"]), (2, 2, 3))
        self.assertEqual(cell["ratio"], 2.5)

    def test_a_row_that_was_measured_again_replaces_the_first(self):
        cell = self.only([heed(200), rate("openvino", 100), heed(400)])
        self.assertEqual((cell["pairs"], cell["ratio"]), (1, 4))

    def test_ceilings_take_attention_away_and_run_the_rest_at_the_roofs(self):
        cell = self.only([heed(512, attention_s=0.25), rate("openvino", 256)])
        self.assertAlmostEqual(cell["attention_share"], 0.25)
        self.assertAlmostEqual(cell["ceiling_free_attention"], 2 / 0.75)
        # Behind the last of two layers' keys and values one row goes on.
        work = 2 * 512 * 2e6 / (0.8 * 800e9) + 82000 / 40e9
        keys = 512 * 513 / 2
        self.assertAlmostEqual(cell["ceiling_roofs"], 2 / (work + 2 * 4 * 128 * keys / 400e9))

    def test_all_tokens_pass_the_last_layers_keys_and_values(self):
        shares = [peer_bounds.layers_multiplied({"layers": 4}, {"name": f"blk.*.{name}.weight"})
                  for name in ("attn_k", "attn_v", "attn_q", "ffn_down")]
        self.assertEqual(shares, [1, 1, 0.75, 0.75])

    def test_generation_reads_weights_and_stored_keys(self):
        test = Test("tg", 2, 10)
        entries = 2 * (11 + 12)
        self.assertAlmostEqual(peer_bounds.least_seconds(ABOUT, test, MACHINE),
                               (2 * 2332000 + entries * 2 * 2 * 128) / 40e9)
        windowed = {**ABOUT, "window": [4, 0]}
        self.assertAlmostEqual(peer_bounds.least_seconds(windowed, test, MACHINE),
                               (2 * 2332000 + (8 + 23) * 2 * 2 * 128) / 40e9)

    def test_a_window_limits_the_keys_of_a_prompt(self):
        by_hand = sum(min(i + 1, 5) for i in range(12))
        self.assertEqual(peer_bounds.seen_by(5, 12), by_hand)
        self.assertEqual(peer_bounds.seen_by(0, 12), 78)

    def test_marks_judge_the_median_and_a_lost_cell_is_named(self):
        at = lambda value, peer: self.only([heed(value), rate(peer, 1)])["verdict"]
        self.assertEqual([at(value, "ik_llama.cpp") for value in (1.49, 1.5, 2.0)],
                         ["FAIL", "pass", "goal"])
        self.assertEqual([at(value, "openvino") for value in (0.99, 1.0)], ["lost", ""])

    def test_every_mark_is_measured_by_default_or_by_the_other_script(self):
        files = mock.Mock(published=lambda *_: pathlib.Path("file"))
        with mock.patch.object(peer_models, "bench_files", files):
            known = {name: peer_models.known(name) for name, _, _ in peer_report.MARKS}
        for name, peer, test in peer_report.MARKS:
            if peer == "llama.cpp" and test == "pp4096":
                continue  # scripts/bench
            self.assertIn(peer, known[name].peers)
            self.assertIn(test, map(str, known[name].tests_of(peer)))


class Extrapolation(unittest.TestCase):
    def test_layers_are_told_from_the_rest_by_two_more_of_them(self):
        # A token: 1 ms of head, 2 ms a layer; the prompt of 128: 1 ms, 10 ms for the last layer's keys
        # and values, 50 ms for each other layer.
        rows = [model("1b", layers=16, deeper="1b-4"), model("1b-4")]
        for engine, slower in (("heed", 1), ("openvino", 2)):
            make = heed if engine == "heed" else lambda r, **m: rate("openvino", r, **m)
            rows += [make(1 / (0.005 * slower), test="tg32@0", model="1b"),
                     make(1 / (0.009 * slower), test="tg32@0", model="1b-4"),
                     make(128 / (0.061 * slower), test="pp128", model="1b"),
                     make(128 / (0.161 * slower), test="pp128", model="1b-4"),
                     make(512 / (0.2 * slower), test="pp512", model="1b")]
        found = {cell["test"]: cell for cell in
                 peer_report.extrapolated(rows, peer_report.cells_of(rows))}
        self.assertEqual(set(found), {"tg32@0", "pp128"})
        self.assertAlmostEqual(found["tg32@0"]["heed"], 1 / 0.033)
        self.assertAlmostEqual(found["pp128"]["heed"], 128 / 0.761)
        self.assertAlmostEqual(found["pp128"]["ratio"], 2)
        self.assertEqual(found["pp128"]["extrapolated_to"], 16)
        text = peer_report.markdown(peer_report.report_of(rows))
        self.assertIn("Extrapolated from 2 layers to 16 (not measured)", text)

    def test_without_the_deeper_file_nothing_is_extrapolated(self):
        rows = [model("1b", layers=16, deeper="1b-4"), heed(10, model="1b"),
                rate("openvino", 5, model="1b")]
        self.assertEqual(peer_report.extrapolated(rows, peer_report.cells_of(rows)), [])


class Answers(unittest.TestCase):
    reference = {"tokens": [1, 2, 3], "next": {i: i for i in range(10)}, "nll": 3.0}

    def judge(self, changed, nll=3.0, **more):
        following = {i: i + (i < changed) for i in range(10)}
        return peer_report.judge_answer({"next": following, "nll": nll, **more}, self.reference)

    def test_far_from_llama_cpp_is_wrong(self):
        self.assertFalse(self.judge(5)["wrong"])  # 5 or fewer of 10 at 0.8: 3.3 %
        self.assertTrue(self.judge(6)["wrong"])   # 4 or fewer: 0.6 %
        self.assertFalse(self.judge(0, nll=3.09)["wrong"])
        self.assertTrue(self.judge(0, nll=3.11)["wrong"])
        self.assertTrue(self.judge(0, nll=2.0)["wrong"])

    def test_few_positions_and_no_likelihood_are_enough(self):
        found = peer_report.judge_answer({"next": {4: 4, 9: 9}, "nll": None}, self.reference)
        self.assertEqual((found["agreement"], found["positions"]), (1, 2))
        self.assertFalse(found["wrong"])

    def test_other_tokens_are_not_compared(self):
        found = self.judge(10, tokens=[1, 2])
        self.assertFalse(found["same_tokens"] or found["wrong"])

    def test_a_wrong_answer_is_told_in_its_rows(self):
        rows = [model(), heed(2), rate("openvino", 1),
                {"kind": "answer", "model": "smollm2", "engine": "openvino", **self.judge(9)}]
        text = peer_report.markdown(peer_report.report_of(rows))
        self.assertIn("its answer is wrong", text)
        self.assertIn("WRONG", text)


class Fake(Engine):
    """Counts its calls; refuses what it is told to."""

    def __init__(self, name, refuses=()):
        super().__init__(name, 2)
        self.refuses, self.asked = refuses, []

    def measure(self, model, tests, config):
        self.asked.append([str(test) for test in tests])
        if any(str(test) in self.refuses for test in tests):
            raise Refused("too long for me")
        more = {"attention_s": 0.1, "machine": MACHINE} if self.name == "heed" else {}
        return {test: {"tokens_per_s": 1.0, **more} for test in tests}

    def answers(self, model, text, reference, config):
        return {"tokens": [1], "next": {0: 5}, "nll": None}


class Turns(FolderCase):
    def setUp(self):
        super().setUp()
        self.heed = self.folder / "heed"
        self.heed.write_bytes(b"one build")
        quiet = mock.patch.object(peers, "say")
        quiet.start()
        self.addCleanup(quiet.stop)

    def run_of(self, rows, engines, models=(), **changed):
        options = {"tests": [], "rounds": 2, "long_rounds": 1, "minutes": 0, "no_choice": True}
        return peers.Run(types.SimpleNamespace(**{**options, **changed}), rows, models, engines,
                         Fake("llama.cpp"))

    def run_once(self, engines, tests=("pp512", "pp2048", "pp8192"), **changed):
        rows = peers.Rows(self.folder, self.heed, False)
        models = [Model("smollm2", self.folder, about=ABOUT)]
        self.run_of(rows, engines, models, tests=[parse_test(test) for test in tests],
                    **changed).measure()
        return rows

    def test_rows_are_on_disk_and_long_tests_have_fewer_turns(self):
        self.run_once([Fake("heed"), Fake("openvino")])
        rows = [json.loads(line) for line in (self.folder / "rows.jsonl").read_text().splitlines()]
        turns = {}
        for row in peer_report.of_kind(rows, "rate"):
            turns.setdefault((row["engine"], row["test"]), []).append(row["turn"])
        for engine in ("heed", "openvino"):
            self.assertEqual(turns[engine, "pp512"], [0, 1])
            self.assertEqual(turns[engine, "pp8192"], [0])

    def test_a_second_run_measures_only_what_is_missing(self):
        self.run_once([Fake("heed"), Fake("openvino")])
        again = [Fake("heed"), Fake("openvino")]
        self.run_once(again)
        self.assertEqual([engine.asked for engine in again], [[], []])
        self.run_once(again, rounds=3)
        self.assertEqual([engine.asked for engine in again], [[["pp512"], ["pp2048"]]] * 2)

    def test_answers_are_compared_once_and_of_real_weights_only(self):
        for about, kept in (({}, 1), ({"layers": 16}, 0), ({"like": "smollm2"}, 0)):
            rows = peers.Rows(self.folder, self.heed, True)
            run = self.run_of(rows, [Fake("heed"), Fake("openvino")])
            for _ in range(2):
                run.compare_answers(Model("smollm2", self.folder, about=ABOUT, **about))
            self.assertEqual(len(peer_report.of_kind(rows.rows, "answer")), kept)

    def test_a_deeper_copy_runs_with_the_configurations_of_the_model_it_is_like(self):
        rows = self.run_once([Fake("heed"), Fake("openvino")], rounds=1)
        rows.add("choice", model="smollm2", engine="openvino", config={"pp": "chosen"})
        run = self.run_of(rows, [])
        deeper = Model("deeper", self.folder, about=ABOUT, like="smollm2")
        self.assertEqual(run.configuration(deeper, Fake("openvino")), {"pp": "chosen"})
        alone = Model("another", self.folder, about=ABOUT)
        self.assertEqual(run.configuration(alone, Fake("openvino")), {"pp": "", "tg": ""})

    def test_a_group_that_was_cut_is_measured_whole_again(self):
        rows = self.run_once([Fake("heed"), Fake("openvino")], rounds=1, tests=("pp512",))
        kept = [row for row in rows.rows if row["kind"] != "rate" or row["engine"] == "heed"]
        (self.folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept))
        again = [Fake("heed"), Fake("openvino")]
        self.run_once(again, rounds=1, tests=("pp512",))
        self.assertEqual([engine.asked for engine in again], [[["pp512"]]] * 2)

    def test_a_refusal_is_published_and_not_asked_for_again(self):
        engines = [Fake("heed"), Fake("openvino", refuses=("pp8192",))]
        rows = self.run_once(engines)
        report = peer_report.report_of(rows.rows)
        self.assertEqual([(row["test"], row["message"]) for row in report["not_measured"]],
                         [("pp8192", "too long for me")])
        self.assertIn("openvino, pp8192: too long for me", peer_report.markdown(report))
        asked = len(engines[1].asked)
        self.run_once(engines)
        self.assertEqual(len(engines[1].asked), asked)

    def test_nothing_is_begun_after_the_time_is_over(self):
        engines = [Fake("heed"), Fake("openvino")]
        self.run_once(engines, minutes=1e-9)
        self.assertEqual([engine.asked for engine in engines], [[], []])

    def test_rows_of_another_build_are_noticed_and_can_be_set_aside(self):
        self.run_once([Fake("heed"), Fake("openvino")])
        self.heed.write_bytes(b"another build")
        self.assertTrue(peers.Rows(self.folder, self.heed, False).other_build)
        fresh = peers.Rows(self.folder, self.heed, True)
        self.assertFalse(fresh.other_build)
        self.assertEqual(len(list(self.folder.glob("rows-*.jsonl"))), 1)

    def test_reading_rows_writes_none(self):
        rows = peers.Rows(self.folder, self.heed, False)
        self.assertFalse(rows.other_build)
        self.assertEqual(rows.rows, [])
        self.assertFalse((self.folder / "rows.jsonl").exists())


if __name__ == "__main__":
    unittest.main()
