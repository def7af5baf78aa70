#!/usr/bin/env python3
"""`heed run` beside itself with one thing changed, process after process in turns, answers equal.

    run_turns.py drafts  MODEL [-p TEXT] [-f FILE] [-md DRAFT.gguf] [--lookup] [-n 128]
    run_turns.py order   MODEL -f DOCUMENT [-c N]
    run_turns.py session MODEL -f DOCUMENT [-p QUESTION -p QUESTION]

drafts   plain decoding beside prompt lookup (the default) and a draft model: tokens a second of the
         answer, acceptance, the ratio to plain in each turn
order    a long prompt token-major and layer-major: seconds of the prompt, peak memory
session  the second question on a document with what the first one left in a session file, and
         without it: seconds to its first token, and of the whole process

Every variant runs once before the turns, for the page cache. What comes behind -- goes to every
`heed run`, for example: run_turns.py drafts qwen3-8b.gguf -md qwen3-0.6b.gguf -- -t 2 -np 2
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True  # nothing appears in the source tree

from bench_files import HEED

COUNTED = ("--temp", "0", "--ignore-eos", "-q", "-o", "json")
DOCUMENT = pathlib.Path(__file__).resolve().parents[2] / "docs" / "demo" / "document.txt"
QUESTIONS = ("Repeat the first paragraph of this text word for word.",
             "Repeat the last paragraph of this text word for word.")


def run(words):
    """The report of one `heed run`, with the seconds of its whole process."""
    begin = time.monotonic()
    done = subprocess.run([HEED, "run", *words, *COUNTED], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"run_turns: heed run {' '.join(words)} ends with {done.returncode}")
    return {**json.loads(done.stdout), "process_s": time.monotonic() - begin}


def texts(report):
    return [answer["text"] for answer in report.get("answers", [report])]


def in_turns(variants, rounds, measure=run):
    """{name: reports}; the first of a turn changes, and first runs are none of the reports. The
    variants are lists of words; another answer than the first one's ends the program."""
    names = list(variants)
    expected = None
    rows = {name: [] for name in names}
    for turn in range(-1, rounds):
        first = max(turn, 0) % len(names)
        for name in names[first:] + names[:first]:
            report = measure(variants[name])
            expected = expected or texts(report)
            if texts(report) != expected:
                sys.exit(f"run_turns: '{name}' answers differently:\n{texts(report)}\n"
                         f"'{names[0]}' answered:\n{expected}")
            if turn >= 0:
                rows[name].append(report)
            print(f"{'warm' if turn < 0 else turn + 1}: {name}", file=sys.stderr, flush=True)
    return rows


def decile(values):
    """The lowest tenth, linear between neighbours."""
    ordered = sorted(values)
    at = 0.1 * (len(ordered) - 1)
    below = int(at)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (at - below) * (ordered[above] - ordered[below])


def speedups(rows, base, name, value):
    """How much better `name` is than `base` in each turn; `value` is a report's, more is better."""
    return [value(mine) / value(other) for mine, other in zip(rows[name], rows[base])]


def line(rows, base, name, cells, value):
    ratios = speedups(rows, base, name, value)
    return "| " + " | ".join([name, *cells, f"{statistics.median(ratios):.3f}",
                              f"{decile(ratios):.3f}"]) + " |"


def median(reports, value):
    return statistics.median(value(report) for report in reports)


def table(rows, columns, value):
    """`columns`: {title: (number of a report, format)}; ratios are to the first variant."""
    base = next(iter(rows))
    titles = ["", *columns, "ratio", "p10"]
    print("| " + " | ".join(titles) + " |\n" + "|---" * len(titles) + "|")
    for name, reports in rows.items():
        cells = [form.format(median(reports, number)) for number, form in columns.values()]
        print(line(rows, base, name, cells, value), flush=True)


def decode_rate(report):
    """Tokens a second behind the first of each answer."""
    answers = report.get("answers")
    if answers is None:
        answers = [{"generated_tokens": report["generated_tokens"],
                    "decode_s": report["timings"]["decode_s"]}]
    tokens = sum(max(answer["generated_tokens"] - 1, 0) for answer in answers)
    return tokens / max(max(answer["decode_s"] for answer in answers), 1e-9)


def acceptance(report):
    return 100 * report.get("draft", {}).get("acceptance", 0)


def tokens_a_step(report):
    return report.get("draft", {}).get("tokens_per_step", 1)


def drafts(options):
    document = options.file or (None if options.prompt else DOCUMENT)
    common = [options.model, "-p", (options.prompt or QUESTIONS)[0], "-n", str(options.predict),
              *(["-f", str(document)] if document else []), *options.more]
    variants = {"plain": common}
    if options.lookup or not options.draft:
        variants["lookup"] = [*common, "--lookup"]
    if options.draft:
        variants["draft model"] = [*common, "-md", options.draft]
    rows = in_turns(variants, options.rounds)
    table(rows, {"tokens/s": (decode_rate, "{:.2f}"), "acceptance": (acceptance, "{:.0f} %"),
                 "tokens a step": (tokens_a_step, "{:.2f}")}, decode_rate)


def order(options):
    common = [options.model, "-f", str(options.file or DOCUMENT), "-n", "4", *options.more]
    if options.context:
        common += ["-c", str(options.context)]
    variants = {name: [*common, "--prefill-order", name] for name in ("token", "layer")}
    rows = in_turns(variants, options.rounds)

    def rate(report):
        return report["timings"]["prompt_per_second"]

    table(rows, {"prompt": (lambda r: r["prompt_tokens"], "{:.0f} tokens"),
                 "seconds": (lambda r: r["timings"]["prompt_s"], "{:.2f}"),
                 "tokens/s": (rate, "{:.1f}"),
                 "peak MiB": (lambda r: r["memory"]["peak_resident_bytes"] / 2**20, "{:.0f}"),
                 "predicted": (lambda r: r["memory"]["predicted_peak_bytes"] / 2**20, "{:.0f}")},
          rate)


def session(options):
    first, second = (*(options.prompt or ()), *QUESTIONS)[:2]
    common = [options.model, "-f", str(options.file or DOCUMENT), "-n", "16", *options.more]
    if options.context:
        common += ["-c", str(options.context)]
    with tempfile.TemporaryDirectory() as folder:
        kept = str(pathlib.Path(folder) / "document.session")
        saved = run([*common, "-p", first, "--session", kept])
        print(f"first question: {saved['prompt_tokens']} tokens read in "
              f"{saved['timings']['prompt_s']:.2f} s, {saved['session']['bytes'] / 2**20:.0f} MiB "
              f"saved in {saved['session']['save_s']:.2f} s\n", flush=True)
        again = [*common, "-p", second]
        rows = in_turns({"read anew": again,
                         "with session": [*again, "--session", kept, "--prompt-cache-ro"]},
                        options.rounds)

    def restore(report):
        return report.get("session", {}).get("restore_s", 0)

    def first_token(report):
        return report["timings"]["first_token_s"] + restore(report)

    table(rows, {"reused": (lambda r: r["reused_tokens"], "{:.0f} tokens"),
                 "restored in": (restore, "{:.3f} s"),
                 "own tokens in": (lambda r: r["timings"]["prompt_s"], "{:.3f} s"),
                 "first token": (first_token, "{:.3f} s"),
                 "process": (lambda r: r["process_s"], "{:.2f} s")},
          lambda report: 1 / first_token(report))


def positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is below 1")
    return value


def parsed(words):
    more = words[words.index("--") + 1:] if "--" in words else []
    words = words[:len(words) - len(more) - 1] if "--" in words else words
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("drafts", "order", "session"))
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("-p", "--prompt", action="append", metavar="TEXT")
    parser.add_argument("-f", "--file", metavar="FILE",
                        help="default: docs/demo/document.txt, for drafts unless -p is given")
    parser.add_argument("-md", "--draft", metavar="MODEL")
    parser.add_argument("--lookup", action="store_true")
    parser.add_argument("-n", "--predict", type=positive, default=128)
    parser.add_argument("-c", "--context", type=positive)
    parser.add_argument("--rounds", type=positive, default=5)
    return parser.parse_args(words, argparse.Namespace(more=more))


def main(words):
    options = parsed(words)
    if not HEED.exists():
        sys.exit(f"run_turns: {HEED} is missing; build the target heed")
    {"drafts": drafts, "order": order, "session": session}[options.what](options)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
