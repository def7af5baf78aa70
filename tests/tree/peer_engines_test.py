#!/usr/bin/env python3
"""bench/compare: what the engines' programs are asked, and what becomes of their answers."""
import json
import pathlib
import sys
import types
import unittest
from unittest import mock

sys.dont_write_bytecode = True

from script_case import ROOT, FolderCase

sys.path.insert(0, str(ROOT / "bench" / "compare"))

import peer_engines
from peer_engines import Heed, IkLlamaCpp, LlamaCpp, OpenVino, Refused
from peer_tests import Test, parse_test

MODEL = types.SimpleNamespace(file=pathlib.Path("model.gguf"), about={"vocab": 100})
TESTS = [parse_test(word) for word in ("pp128", "pp512", "pp2048", "tg32@0", "tg32@4096")]
SAME = {"pp": "-x 1", "tg": "-x 2"}


class LlamaBench:
    """Answers a command line as llama-bench would: a row for each test that it names."""

    def __init__(self):
        self.commands = []

    def __call__(self, command):
        command = [str(word) for word in command]
        self.commands.append(" ".join(command[1:]))
        told = dict(zip(command, command[1:]))
        rows = [(int(n), 0, 0) for n in told["-p"].split(",") if n != "0"]
        rows += [(0, int(told["-n"]), int(depth)) for depth in told.get("-d", "0").split(",")
                 if told["-n"] != "0"]
        if "-gp" in told:
            rows.append((*map(int, told["-gp"].split(",")), 0))
        return "hello\n" + json.dumps([
            {"n_prompt": n, "n_gen": new, "n_depth": depth, "samples_ts": [3.0, 1.0, 2.0]}
            for n, new, depth in rows])


class Programs(unittest.TestCase):
    def measure(self, engine, answer):
        with mock.patch.object(peer_engines, "process", answer):
            return engine.measure(MODEL, TESTS, SAME)

    def test_llama_cpp_fills_a_depth_once_for_all_repeats(self):
        bench = LlamaBench()
        engine = LlamaCpp(pathlib.Path("llama-bench"), pathlib.Path("next"), 2)
        found = self.measure(engine, bench)
        self.assertEqual(set(found), set(TESTS))
        self.assertEqual(found[TESTS[0]], {"tokens_per_s": 2.0, "samples": [3.0, 1.0, 2.0]})
        words = "-m model.gguf -t 2"
        self.assertEqual(sorted(bench.commands), sorted([
            f"{words} -p 128,512 -n 0 -r 3 -x 1 -o json",
            f"{words} -p 2048 -n 0 -r 1 --no-warmup -x 1 -o json",
            f"{words} -p 0 -n 32 -d 0,4096 -r 3 -x 2 -o json"]))

    def test_ik_llama_cpp_reads_a_depth_again_for_every_repeat(self):
        bench = LlamaBench()
        engine = IkLlamaCpp(pathlib.Path("llama-bench"), pathlib.Path("next"), 2, False)
        found = self.measure(engine, bench)
        self.assertEqual(set(found), set(TESTS))
        words = "-m model.gguf -t 2"
        self.assertEqual(sorted(bench.commands), sorted([
            f"{words} -p 128,512 -n 0 -r 3 -x 1 -o json",
            f"{words} -p 2048 -n 0 -r 1 -x 1 -o json",
            f"{words} -p 0 -n 32 -r 3 -x 2 -o json",
            f"{words} -p 0 -n 0 -gp 4096,32 -r 1 -x 2 -o json"]))

    def test_heed_answers_with_a_row_for_each_test(self):
        def answer(command):
            rows = json.loads(LlamaBench()(command).removeprefix("hello\n"))
            return json.dumps({"machine": {"cpu": "a"}, "rows": [
                {"n": row["n_prompt"] or row["n_gen"], "depth": row["n_depth"], "config": "bf16",
                 "tokens_per_s": 7.0, "attention_s": 0.5, "kl_vs_ref": None} for row in rows]})
        found = self.measure(Heed(pathlib.Path("heed"), 2), answer)
        self.assertEqual(set(found), set(TESTS))
        row = found[Test("tg", 32, 4096)]
        self.assertEqual((row["tokens_per_s"], row["attention_s"], row["engine_config"]),
                         (7.0, 0.5, "bf16"))

    def test_a_program_that_fails_is_refused_with_its_last_words(self):
        script = "import sys; sys.exit('one\\n\\ntwo\\nthree\\nfour')"
        with self.assertRaises(Refused) as refused:
            peer_engines.process([sys.executable, "-c", script])
        self.assertIn("ended with 1: two three four", str(refused.exception))


# Answers as openvino_worker.py does, but for what the test tells it in the name of a file.
WORKER = """
import json, sys
for line in sys.stdin:
    request = json.loads(line)
    if "open" in request:
        file = request["open"]["file"]
        if file == "dies": sys.exit("no such library")
        reply = {"error": "too old"} if file == "refused" else {"opened": request["as"]}
    elif "run" in request:
        new = request["run"]["new"]
        reply = {"first_s": 0.5, "rest_s": [0.25] * (new - 1), "ids": [1] * new}
        if request["as"].endswith("short"): reply["ids"] = [1]
    print(json.dumps(reply), flush=True)
"""


class OpenVinoWorker(FolderCase):
    def setUp(self):
        super().setUp()
        script = self.folder / "worker.py"
        script.write_text(WORKER)
        patch = mock.patch.object(peer_engines, "OPENVINO_WORKER", script)
        patch.start()
        self.addCleanup(patch.stop)
        self.engine = OpenVino(sys.executable, 2)
        self.addCleanup(self.engine.stop)

    def measure(self, file, *tests):
        model = types.SimpleNamespace(file=pathlib.Path(file), about={"vocab": 100})
        return self.engine.measure(model, list(tests), self.engine.default())

    def refusal(self, file, *tests):
        with self.assertRaises(Refused) as refused:
            self.measure(file, *tests)
        return str(refused.exception)

    def test_prompts_count_to_the_first_token_and_generation_from_it(self):
        prompt, new = Test("pp", 128), Test("tg", 8, 0)
        found = self.measure("model", prompt, new)
        self.assertEqual(found[prompt]["samples"], [256.0] * 3)
        self.assertEqual(found[new]["samples"], [4.0] * 3)

    def test_what_the_library_refuses_is_told_in_its_words(self):
        self.assertEqual(self.refusal("refused", Test("pp", 64)), "too old")
        self.assertTrue(self.measure("model", Test("pp", 64)))

    def test_fewer_tokens_than_asked_are_no_measurement(self):
        self.assertIn("1 tokens came where 9 were asked", self.refusal("short", Test("tg", 8, 0)))

    def test_a_worker_that_ends_is_refused_with_its_last_words_and_started_again(self):
        for _ in range(2):
            said = self.refusal("dies", Test("pp", 64))
            self.assertIn("ended with 1: no such library", said)
        self.assertTrue(self.measure("model", Test("pp", 64)))

    def test_a_worker_that_is_silent_is_left(self):
        with mock.patch.object(peer_engines, "PATIENCE_S", 0.0):
            self.assertIn("was not done after", self.refusal("model", Test("pp", 64)))
        self.assertTrue(self.measure("model", Test("pp", 64)))


if __name__ == "__main__":
    unittest.main()
