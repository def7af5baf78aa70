#!/usr/bin/env python3
"""Load times and memory of heed beside llama.cpp, process after process in turns.

    cmake --build build/release --target bench_load
    python3 bench/compare/load.py MODEL.gguf...

Every file is read once by each engine first, so that it lies in the page cache for both: a disk is
not what is compared. The mark is stated on whole 1B and 8B shapes:

    build/release/bench/bench_random_weights SMOLLM2.gguf 8b.gguf 8b 32

With --prompt N both read N tokens before they are asked what they hold: the memory of long prompts.
One turn is enough for that, and no mark is stated.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys

sys.dont_write_bytecode = True  # nothing appears in the source tree

from bench_files import BUILD, ROOT

PROGRAM = BUILD / "bench" / "bench_load"
ENGINES = ("heed", "llama.cpp")
SHORT = 32  # tokens of a prompt that only brings the weights in
MARK = 1.5  # of llama.cpp's time, at most
COLUMNS = (("load_s", 1, 2), ("ready_s", 1, 2), ("resident_bytes", 2**20, 0),
           ("peak_bytes", 2**20, 0))  # (key, its unit, digits)


def measure(file, engine, options):
    words = [PROGRAM, file, engine, str(options.threads), str(options.prompt)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"load: {engine} ends with {done.returncode} on {file}")
    return json.loads(done.stdout)


def turns(file, options):
    """{engine: rows}; the engines begin by turns, and their first reads are no rows."""
    rows = {engine: [] for engine in ENGINES}
    if options.prompt == SHORT:
        for engine in ENGINES:
            measure(file, engine, options)
    for turn in range(options.rounds):
        for engine in ENGINES if turn % 2 == 0 else ENGINES[::-1]:
            rows[engine].append(measure(file, engine, options))
    return rows


def ratio(rows, key):
    """Median of heed's over llama.cpp's of the same turn."""
    pairs = zip(rows["heed"], rows["llama.cpp"])
    return statistics.median(heed[key] / llama[key] for heed, llama in pairs)


def passes(rows):
    return max(ratio(rows, "load_s"), ratio(rows, "ready_s")) <= MARK


def table_line(file, rows, verdict):
    cells = [pathlib.Path(file).name]
    for key, unit, digits in COLUMNS:
        medians = [statistics.median(row[key] for row in rows[engine]) / unit
                   for engine in ENGINES]
        both = " / ".join(f"{value:.{digits}f}" for value in medians)
        cells.append(f"{both} = **{ratio(rows, key):.2f}**")
    cells.append(verdict)
    return "| " + " | ".join(cells) + " |"


def positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is below 1")
    return value


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="MODEL.gguf")
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument("--threads", type=positive, default=2)
    parser.add_argument("--prompt", type=positive, default=SHORT, metavar="TOKENS")
    options = parser.parse_args()
    if not PROGRAM.exists():
        sys.exit(f"load: {PROGRAM.relative_to(ROOT)} is missing; build the target bench_load")
    print("heed / llama.cpp = ratio, medians of turns; seconds and MiB\n\n"
          "| file | loaded | first logits | resident | peak | |\n|---|---|---|---|---|---|",
          flush=True)
    good = True
    for file in options.files:
        rows = turns(file, options)
        judged = options.prompt == SHORT
        verdict = ("pass" if passes(rows) else "FAIL") if judged else ""
        print(table_line(file, rows, verdict), flush=True)
        good = good and (passes(rows) or not judged)
    return 0 if good else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
