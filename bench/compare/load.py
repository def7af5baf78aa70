#!/usr/bin/env python3
"""Load times and memory of heed beside llama.cpp, process after process in turns.

    cmake --build build/release --target bench_load
    python3 bench/compare/load.py MODEL.gguf...

Every file is read once by each engine first, so that it lies in the page cache for both: a disk is
not what is compared. The mark is stated on whole 1B and 8B shapes:

    build/release/bench/bench_random_weights SMOLLM2.gguf 8b.gguf 8b 32
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys

PROGRAM = pathlib.Path(__file__).resolve().parents[2] / "build" / "release" / "bench" / "bench_load"
ENGINES = ("heed", "llama.cpp")
MARK = 1.5  # of llama.cpp's time, at most (design 11)


def measure(file, engine, threads):
    done = subprocess.run([PROGRAM, file, engine, str(threads)], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"load: {engine} ends with {done.returncode} on {file}")
    return json.loads(done.stdout)


def line(file, rows):
    def median(engine, key):
        return statistics.median(row[key] for row in rows[engine])

    def ratio(key):
        pairs = zip(rows["heed"], rows["llama.cpp"])
        return statistics.median(heed[key] / other[key] for heed, other in pairs)

    cells = [pathlib.Path(file).name]
    for key, unit, digits in (("load_s", 1, 2), ("ready_s", 1, 2), ("resident_bytes", 2**20, 0),
                              ("peak_bytes", 2**20, 0)):
        both = " / ".join(f"{median(engine, key) / unit:.{digits}f}" for engine in ENGINES)
        cells.append(f"{both} = **{ratio(key):.2f}**")
    worst = max(ratio("load_s"), ratio("ready_s"))
    return "| " + " | ".join(cells) + f" | {'pass' if worst <= MARK else 'FAIL'} |", worst <= MARK


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="MODEL.gguf")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    print("heed / llama.cpp = ratio, medians of turns; seconds and MiB\n\n"
          "| file | loaded | first logits | resident | peak | |\n|---|---|---|---|---|---|")
    good = True
    for file in options.files:
        rows = {engine: [] for engine in ENGINES}
        for turn in range(-1, options.rounds):
            order = ENGINES if turn % 2 == 0 else ENGINES[::-1]
            for engine in order:
                row = measure(file, engine, options.threads)
                if turn >= 0:
                    rows[engine].append(row)
        text, passed = line(file, rows)
        good = good and passed
        print(text, flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
