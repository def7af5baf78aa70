#!/usr/bin/env python3
"""heed beside llama.cpp, ik_llama.cpp and OpenVINO GenAI: whole models, in turns.

    bench/compare/peers.py --ik IK/build/bin --openvino-python OV/bin/python --minutes 25
    bench/compare/peers.py --models 1b,1b-4,8b,8b-4 ...     # random weights in larger shapes
    bench/compare/peers.py --report [-o json]               # of what is on disk

In a turn every engine runs every test once (short ones three times), the order of the engines moves
by one from group to group, and a ratio is heed's rate over the peer's of the same turn. Rows go to
OUT/rows.jsonl as they are measured; a run that is started again goes on with what is missing, so
turns can be added later (--rounds). Rows of another build of heed are refused (--fresh begins
anew). bench/compare/README.md says how to build the peers.
"""
import argparse
import datetime
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import time

sys.dont_write_bytecode = True  # nothing but rows and copies is written by a run

import peer_engines
import peer_models
import peer_report
from bench_files import BUILD, FOLDER, HEED, ROOT, llama_bench_path
from peer_engines import Refused
from peer_tests import groups_of, is_long, parse_test, rotated

TEXT = ROOT / "docs" / "demo" / "document.txt"
DEFAULT_MODELS = "smollm2,smollm2-q4_0,qwen,qwen-q4_0,gemma"


def say(text):
    print(f"peers: {text}", file=sys.stderr, flush=True)


def words(text):
    return [word for word in text.split(",") if word]


class Rows:
    """rows.jsonl: read once, appended row by row, the build of heed that they are of first."""

    def __init__(self, folder, heed, fresh):
        self.path = folder / "rows.jsonl"
        self.build = hashlib.sha256(heed.read_bytes()).hexdigest() if heed.exists() else None
        if fresh and self.path.exists():
            self.path.rename(folder / f"rows-{int(self.path.stat().st_mtime)}.jsonl")
        self.rows = []
        if self.path.exists():
            self.rows = [json.loads(line) for line in self.path.read_text().splitlines()]

    @property
    def other_build(self):
        kept = self.find("heed")
        return kept is not None and not self.find("heed", sha256=self.build)

    def add(self, kind, **fields):
        if not self.find("heed"):
            self.write("heed", sha256=self.build)
        self.write(kind, **fields)

    def write(self, kind, **fields):
        row = {"kind": kind, **fields,
               "at": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")}
        self.rows.append(row)
        with open(self.path, "a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")

    def find(self, kind, **fields):
        for row in reversed(self.rows):
            if row["kind"] == kind and all(row.get(key) == fields[key] for key in fields):
                return row
        return None


class Run:
    """`yardstick` is the engine whose answers are right."""

    def __init__(self, options, rows, models, engines, yardstick):
        self.options, self.rows, self.models = options, rows, models
        self.engines, self.yardstick = engines, yardstick
        self.until = time.monotonic() + 60 * options.minutes if options.minutes else None

    def out_of_time(self):
        return self.until is not None and time.monotonic() > self.until

    def refuse(self, model, engine, test, problem):
        say(f"{model.name}, {engine.name}: {problem}")
        self.rows.add("refusal", model=model.name, engine=engine.name, test=test,
                      message=str(problem))

    def refused(self, model, engine):
        return self.rows.find("refusal", model=model.name, engine=engine.name, test="")

    def contestants(self, model):
        """heed and the peers of this file."""
        return [engine for engine in self.engines
                if engine.name == "heed" or engine.name in model.peers]

    def configuration(self, model, engine):
        if engine.name == "heed":
            return engine.default()
        for name in (model.name, model.like):
            kept = self.rows.find("choice", model=name, engine=engine.name)
            if kept:
                return kept["config"]
        if self.options.no_choice:
            config = engine.default()
        else:
            say(f"{model.name}, {engine.name}: choosing a configuration")
            config = engine.choose(model)
        self.rows.add("choice", model=model.name, engine=engine.name, config=config,
                      tried=not self.options.no_choice)
        return config

    def compare_answers(self, model):
        """Once a file and engine. llama.cpp's are the yardstick. Logits of random weights lie so
        close together that roundings choose the answer: nothing to compare."""
        if model.is_random:
            return
        by_name = {engine.name: engine for engine in self.contestants(model)}
        missing = [engine for name, engine in by_name.items()
                   if name not in ("heed", "llama.cpp") and not self.refused(model, engine)
                   and not self.rows.find("answer", model=model.name, engine=name)]
        if not missing:
            return
        try:
            reference = self.yardstick.answers(model, TEXT, None, None)
        except Refused as problem:
            say(f"{model.name}: no answers to compare with: {problem}")
            return
        if reference is None:
            say("answers are not compared: build the target bench_next_tokens")
            return
        for engine in missing:
            try:
                found = engine.answers(model, TEXT, reference,
                                       self.configuration(model, engine))
            except Refused as problem:
                self.refuse(model, engine, "", problem)
                continue
            if found is None:
                self.refuse(model, engine, "answers", "not compared: bench_next_tokens is not "
                            "built against its library")
                continue
            self.rows.add("answer", model=model.name, engine=engine.name,
                          **peer_report.judge_answer(found, reference))

    def prepare(self, model):
        self.rows.add("model", model=model.name, file=model.file.name, about=model.about,
                      layers=model.layers, deeper=model.deeper)
        for engine in self.contestants(model):
            if self.refused(model, engine):
                continue
            try:
                self.configuration(model, engine)
            except Refused as problem:
                self.refuse(model, engine, "", problem)
        self.compare_answers(model)

    def tests_of(self, model, engine):
        asked = self.options.tests
        if asked:
            return set(asked)
        if engine.name != "heed":
            return set(model.tests_of(engine.name))
        peers = [other.name for other in self.contestants(model)]
        return set(model.tests).union(*(model.tests_of(name) for name in peers))

    def groups(self, model):
        return groups_of(set().union(*(self.tests_of(model, engine)
                                       for engine in self.contestants(model))))

    def done(self, model, group, turn, engines):
        """Whole groups only: pairs of an interrupted one would lie far apart."""
        return all(self.rows.find("rate", model=model.name, engine=engine.name, test=str(test),
                                  turn=turn) or
                   self.rows.find("refusal", model=model.name, engine=engine.name, test=str(test))
                   for engine in engines for test in group
                   if test in self.tests_of(model, engine))

    def take_turn(self, model, group, turn, by):
        engines = [engine for engine in self.contestants(model) if not self.refused(model, engine)]
        if len(engines) < 2 or self.done(model, group, turn, engines):
            return
        for engine in rotated(engines, by):
            tests = [test for test in group if test in self.tests_of(model, engine)]
            if not tests:
                continue
            say(f"turn {turn + 1}, {model.name}, {engine.name}: {' '.join(map(str, tests))}")
            config = self.configuration(model, engine)
            try:
                found = engine.measure(model, tests, config)
            except Refused as problem:
                for test in tests:
                    self.refuse(model, engine, str(test), problem)
                continue
            for test in tests:
                fields = dict(found[test])
                fields.setdefault("config", fields.pop("engine_config", config[test.kind]))
                self.rows.add("rate", model=model.name, engine=engine.name, test=str(test),
                              turn=turn, **fields)

    def measure(self):
        for model in self.models:
            self.prepare(model)
        longest = max((len(self.groups(model)) for model in self.models), default=0)
        for turn in range(max(self.options.rounds, self.options.long_rounds)):
            # Cheap groups of all models before dear ones: what the time allows is then even.
            for at in range(longest):
                for i, model in enumerate(self.models):
                    groups = self.groups(model)
                    if at >= len(groups):
                        continue
                    rounds = (self.options.long_rounds if is_long(groups[at])
                              else self.options.rounds)
                    if turn >= rounds:
                        continue
                    if self.out_of_time():
                        say(f"{self.options.minutes} minutes are over; the next run goes on here")
                        return
                    self.take_turn(model, groups[at], turn, turn + at + i)


def known_engines(options):
    """{name: (engine, its program, how to get it)}"""
    threads = options.threads
    llama = peer_engines.LlamaCpp(pathlib.Path(options.llama_bench or llama_bench_path()),
                                  BUILD / "bench" / "bench_next_tokens", threads)
    every = {"heed": (peer_engines.Heed(HEED, threads), HEED, "run make build"),
             "llama.cpp": (llama, llama.bench, "run scripts/bootstrap --llama-bench"),
             "openvino": (peer_engines.OpenVino(options.openvino_python, threads),
                          pathlib.Path(options.openvino_python or "openvino's Python"),
                          "give --openvino-python")}
    ik = pathlib.Path(options.ik or "ik_llama.cpp's folder")
    for repack in (False, True):
        engine = peer_engines.IkLlamaCpp(ik / "llama-bench", ik / "bench_next_tokens", threads,
                                         repack)
        every[engine.name] = (engine, engine.bench, "give --ik, the folder it was built in")
    return every


def present_engines(options, every):
    """Those that were asked for and are there; says of the others how to get them."""
    engines = []
    for name in words(options.engines):
        if name not in every:
            sys.exit(f"peers: no engine '{name}': {', '.join(every)}")
        engine, program, way = every[name]
        if program.exists():
            engines.append(engine)
        else:
            say(f"without {name}: {program} is missing; {way}")
    return engines


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--engines", default="heed,llama.cpp,ik_llama.cpp,ik_llama.cpp-rtr,openvino")
    add("--models", default=DEFAULT_MODELS,
        help=f"names or NAME=FILE (default {DEFAULT_MODELS}; also 1b 1b-4 8b 8b-4)")
    add("--tests", default="", help="pp512,tg32@4096,...; default: 128 to 8,192 tokens, depths 0 "
        "and 4,096, and what marks are stated on")
    add("--rounds", type=int, default=3, help="turns (default 3)")
    add("--long-rounds", type=int, default=1,
        help="turns of tests beyond 4,200 tokens (default 1)")
    add("--minutes", type=float, default=0, help="begin no group after so long (default: no limit)")
    add("--threads", type=int, default=2, help="of every engine (default 2)")
    add("--no-choice", action="store_true",
        help="each peer's usual configuration instead of the fastest of a trial")
    add("--ik", default=os.environ.get("HEED_PEER_IK"),
        help="folder of ik_llama.cpp's llama-bench ($HEED_PEER_IK)")
    add("--openvino-python", default=os.environ.get("HEED_PEER_OPENVINO_PYTHON"),
        help="Python with openvino-genai ($HEED_PEER_OPENVINO_PYTHON)")
    add("--llama-bench", default=os.environ.get("HEED_PEER_LLAMA_BENCH"),
        help="llama.cpp's (default: scripts/bootstrap's; $HEED_PEER_LLAMA_BENCH)")
    add("--out", type=pathlib.Path, default=FOLDER / "peers")
    add("--fresh", action="store_true", help="set the rows that are there aside")
    add("--report", action="store_true", help="measure nothing")
    add("-o", "--output", choices=["md", "json"], default="md")
    options = parser.parse_args()
    try:
        options.tests = [parse_test(word) for word in words(options.tests)]
    except ValueError as problem:
        parser.error(str(problem))
    return options


def measure(options, rows):
    if not HEED.exists():
        sys.exit(f"peers: {HEED.relative_to(ROOT)} is missing; run make build")
    if rows.other_build:
        sys.exit(f"peers: the rows in {options.out} are of another build of heed; --fresh sets "
                 "them aside, --report shows them")
    every = known_engines(options)
    yardstick, *_ = every["llama.cpp"]
    engines = present_engines(options, every)
    try:
        models = [peer_models.get(word) for word in words(options.models)]
        Run(options, rows, models, engines, yardstick).measure()
    except (ValueError, subprocess.CalledProcessError) as problem:
        sys.exit(f"peers: {problem}")
    finally:
        for engine in engines:
            engine.stop()


def main():
    options = parse_options()
    options.out.mkdir(parents=True, exist_ok=True)
    rows = Rows(options.out, HEED, options.fresh)
    if not options.report:
        measure(options, rows)
    report = peer_report.report_of(rows.rows)
    if options.output == "json":
        print(json.dumps(report, indent=1))
    else:
        print(peer_report.markdown(report), end="")
    failed = [cell for cell in report["cells"] if cell["verdict"] == "FAIL"]
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
