#!/usr/bin/env python3
"""Every architecture's description beside llama.cpp in speed, on random weights in the shape of a
1B model: Q4_K_M, gpt-oss in MXFP4.

    cmake --build build/release --target heed bench_random_weights bench_embed
    python3 bench/compare/architectures.py [ARCHITECTURE...]

A file has two layers, more where the description has a longer pattern: a layer costs what it costs
in the whole model. Prompts and generation are `heed bench --compare llama.cpp` (its peer is the
fastest configuration of a quick run, rounds alternate), encoders `bench_embed`. Results that
build/bench/architectures has already are not measured again; --report only prints them. The mark is
a lower decile of at least 1.0 in every cell.
"""
import argparse
import json
import statistics
import subprocess
import sys

sys.dont_write_bytecode = True  # nothing appears in the source tree

from bench_files import BUILD, FOLDER, HEED, published

RESULTS = FOLDER / "architectures"
DECODERS = ("llama", "mistral3", "qwen2", "qwen3", "gemma2", "gemma3", "phi3", "olmo2", "granite",
            "smollm3", "qwen3moe", "gpt-oss", "deepseek2")
ENCODERS = ("bert", "nomic-bert")
LAYERS = {"gemma3": 6, "smollm3": 4}  # one turn of their patterns; others have at most two kinds
MARK = 1.0


def run(words, **more):
    done = subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, text=True, **more)
    if done.returncode != 0:
        sys.exit(f"architectures: {words[0]} ends with {done.returncode}")
    return done.stdout


def measure(arch, options):
    """The result of one architecture, which lies in RESULTS afterwards."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    model = RESULTS / f"{arch}.gguf"
    print(f"architectures: {arch}", file=sys.stderr, flush=True)
    run([BUILD / "bench" / "bench_random_weights", published("smollm2:135m"), model, "1b",
         LAYERS.get(arch, 2), arch])
    try:
        if arch in ENCODERS:
            text = run([BUILD / "bench" / "bench_embed", model, options.threads, 512,
                        options.rounds])
        else:
            text = run([HEED, "bench", "-m", model, "-p", "512,4096", "-n", "16", "-d", "0", "-r",
                        options.rounds, "-t", options.threads, "--compare", "llama.cpp", "-o",
                        "json"])
    finally:
        model.unlink()
    partial = RESULTS / f"{arch}.json.partial"
    partial.write_text(text)
    partial.rename(RESULTS / f"{arch}.json")


def decile(values):
    """The lower one, between neighbours as heed bench takes it."""
    ordered = sorted(values)
    at = 0.1 * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])


def cells(arch):
    """{test: (heed's tokens a second, median ratio, lower decile)}"""
    result = json.loads((RESULTS / f"{arch}.json").read_text())
    if arch in ENCODERS:
        heed, llama = result["heed_s"], result["llama.cpp_s"]
        ratios = [b / a for a, b in zip(heed, llama)]
        rate = result["tokens"] / statistics.median(heed)
        return {"pp512": (rate, statistics.median(ratios), decile(ratios))}
    return {row["test"]: (row["tokens_per_s"], row["ratio_vs"]["llama.cpp"],
                          row["ratio_p10"]["llama.cpp"])
            for row in result["rows"] if row["engine"] == "heed" and row["depth"] == 0}


def report(names):
    """Prints the table; whether every cell that was measured reaches the mark."""
    tests = ("pp512", "pp4096", "tg16")
    print("| architecture | 512 tokens | 4,096 tokens | generated |\n|---|---|---|---|")
    good = True
    for arch in names:
        if not (RESULTS / f"{arch}.json").exists():
            continue
        found = cells(arch)
        texts = []
        for test in tests:
            if test not in found:
                texts.append("")
                continue
            rate, median, low = found[test]
            good = good and low >= MARK
            texts.append(f"{rate:,.0f} t/s, **{median:.2f}** ({low:.2f})")
        print(f"| `{arch}` | " + " | ".join(texts) + " |")
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="ARCHITECTURE")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--report", action="store_true", help="measure nothing")
    options = parser.parse_args()
    known = DECODERS + ENCODERS
    names = options.names or known
    for arch in names:
        if arch not in known:
            parser.error(f"no architecture '{arch}'; there are {', '.join(known)}")
        if not options.report and not (RESULTS / f"{arch}.json").exists():
            measure(arch, options)
    return 0 if report(names) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
