"""From measured rows to cells: heed over each peer of the same turn, its ceilings, its mark."""
import math
import statistics

from peer_bounds import least_seconds
from peer_tests import parse_test

# (file, peer, test) -> first mark and goal, of the ratio's median. Those against ik_llama.cpp hold
# with and without its rearranged weights.
MARKS = {
    ("smollm2", "llama.cpp", "pp512"): (5, 7),
    ("smollm2", "llama.cpp", "pp4096"): (4.6, 5.8),
    ("smollm2", "llama.cpp", "tg32@0"): (1.6, 2.5),
    ("smollm2", "llama.cpp", "tg32@4096"): (2.5, 3.8),
    ("qwen", "llama.cpp", "pp512"): (2.3, 2.8),
    ("qwen", "llama.cpp", "pp4096"): (2.7, 3.2),
    ("smollm2", "ik_llama.cpp", "pp512"): (1.5, 2),
    ("smollm2", "ik_llama.cpp", "pp4096"): (1.8, 2.2),
    ("smollm2", "ik_llama.cpp", "tg32@0"): (1.2, 2),
    ("smollm2", "ik_llama.cpp-rtr", "pp512"): (1.5, 2),
    ("smollm2", "ik_llama.cpp-rtr", "pp4096"): (1.8, 2.2),
    ("smollm2", "ik_llama.cpp-rtr", "tg32@0"): (1.2, 2),
    ("smollm2-q4_0", "openvino", "pp512"): (1.2, 1.5),
    ("smollm2-q4_0", "openvino", "pp4096"): (1.08, 1.25),
    ("smollm2-q4_0", "openvino", "pp8192"): (1.2, 1.4),
    ("smollm2-q4_0", "openvino", "tg32@4096"): (2.5, 4),
}
# An answer is called wrong when it is further from llama.cpp's than another valid engine's is: ids
# that agree behind at least this share of the tokens, and nats of the text's likelihood. Few
# positions decide nothing by chance: so few that agree must be this improbable for a valid engine.
AGREEMENT, NLL, CHANCE = 0.8, 0.1, 0.01


def latest(rows, *keys):
    """The last row of each key: a turn that was interrupted is measured again."""
    return {tuple(row[key] for key in keys): row for row in rows}


def of_kind(rows, kind):
    return [row for row in rows if row["kind"] == kind]


def machine_of(rows):
    """The best of every round of every run, as in heed's own reports."""
    machines = [row["machine"] for row in of_kind(rows, "rate") if row.get("machine")]
    if not machines:
        return None
    best = dict(machines[0])
    best["stream_gbps"] = max(machine["stream_gbps"] for machine in machines)
    best["peak_gflops"] = {name: max(machine["peak_gflops"][name] for machine in machines)
                           for name in best["peak_gflops"]}
    return best


def improbable(agree, positions):
    """Of an engine whose ids agree with probability AGREEMENT: so few or fewer of them."""
    tail = sum(math.comb(positions, k) * AGREEMENT ** k * (1 - AGREEMENT) ** (positions - k)
               for k in range(agree + 1))
    return tail < CHANCE


def judge_answer(found, reference):
    """An answer's row: how far it is from llama.cpp's, of the same tokens."""
    both = [found["next"][i] == reference["next"][i] for i in found["next"]
            if i in reference["next"]]
    agreement = sum(both) / len(both) if both else 0.0
    difference = None
    if found["nll"] is not None and reference["nll"] is not None:
        difference = found["nll"] - reference["nll"]
    wrong = improbable(sum(both), len(both)) or (difference is not None and abs(difference) > NLL)
    same_tokens = found.get("tokens", reference["tokens"]) == reference["tokens"]
    return {"agreement": agreement, "positions": len(both), "nll_difference": difference,
            "same_tokens": same_tokens, "wrong": wrong and same_tokens}


def verdict_of(ratio, mark):
    if mark is None:
        return "lost" if ratio < 1 else ""
    first, goal = mark
    return "goal" if ratio >= goal else "pass" if ratio >= first else "FAIL"


def cell_of(model, about, peer, test, pairs, machine):
    """One model, peer and test: pairs are (heed's row, the peer's row) of the same turns."""
    ratios = [heed["tokens_per_s"] / other["tokens_per_s"] for heed, other in pairs]
    heed = statistics.median(row["tokens_per_s"] for row, _ in pairs)
    other = statistics.median(row["tokens_per_s"] for _, row in pairs)
    parsed = parse_test(test)
    seconds, peer_seconds = parsed.n / heed, parsed.n / other
    attention = statistics.median(row["attention_s"] for row, _ in pairs)
    median = statistics.median(ratios)
    mark = MARKS.get((model, peer, test))
    return {"model": model, "peer": peer, "test": test, "pairs": len(pairs), "heed": heed,
            "peer_rate": other, "ratio": median, "least": min(ratios), "most": max(ratios),
            "attention_share": attention / seconds,
            "ceiling_free_attention": peer_seconds / max(seconds - attention, 1e-12),
            "ceiling_roofs": peer_seconds / least_seconds(about, parsed, machine),
            "mark": mark, "verdict": verdict_of(median, mark),
            "peer_config": pairs[-1][1]["config"], "extrapolated_to": None}


def cells_of(rows):
    machine = machine_of(rows)
    about = {row["model"]: row["about"] for row in of_kind(rows, "model")}
    rates = latest(of_kind(rows, "rate"), "model", "test", "turn", "engine")
    pairs = {}
    for (model, test, turn, engine), row in sorted(rates.items()):
        heed = rates.get((model, test, turn, "heed"))
        if engine != "heed" and heed is not None:
            pairs.setdefault((model, engine, test), []).append((heed, row))
    return [cell_of(model, about[model], peer, test, both, machine)
            for (model, peer, test), both in
            sorted(pairs.items(), key=lambda item: (item[0][:2], parse_test(item[0][2])))]


def seconds_of(rows, model, engine, test):
    """Median over the turns, of the whole test; None without a row."""
    rates = [row["tokens_per_s"] for row in
             latest(of_kind(rows, "rate"), "model", "engine", "test", "turn").values()
             if (row["model"], row["engine"], row["test"]) == (model, engine, test)]
    return parse_test(test).n / statistics.median(rates) if rates else None


def whole_seconds(rows, model, engine, test):
    """Of the whole model that a file of two layers stands for: two layers more cost what they cost
    in the same test of the deeper file. (A prompt's last layer multiplies little, so a layer is not
    half of what two take.)"""
    two = seconds_of(rows, model["model"], engine, test)
    four = seconds_of(rows, model["deeper"], engine, test)
    if two is None or four is None:
        return None
    return two + max(0.0, four - two) * (model["layers"] - 2) / 2


def extrapolated(rows, cells):
    """The cells of two-layer files once more, for all layers."""
    models = {row["model"]: row for row in of_kind(rows, "model") if row.get("layers")}
    more = []
    for cell in cells:
        model = models.get(cell["model"])
        if model is None:
            continue
        heed = whole_seconds(rows, model, "heed", cell["test"])
        peer = whole_seconds(rows, model, cell["peer"], cell["test"])
        if heed and peer:
            n = parse_test(cell["test"]).n
            more.append({"model": cell["model"], "peer": cell["peer"], "test": cell["test"],
                         "pairs": cell["pairs"], "heed": n / heed, "peer_rate": n / peer,
                         "ratio": peer / heed, "extrapolated_to": model["layers"]})
    return more


def report_of(rows):
    cells = cells_of(rows)
    models = list(latest(of_kind(rows, "model"), "model").values())
    return {"machine": machine_of(rows), "models": models, "cells": cells,
            "extrapolated": extrapolated(rows, cells),
            "answers": list(latest(of_kind(rows, "answer"), "model", "engine").values()),
            "choices": list(latest(of_kind(rows, "choice"), "model", "engine").values()),
            "not_measured": list(latest(of_kind(rows, "refusal"), "model", "engine",
                                        "test").values())}


def table_line(cell, wrong):
    mark = "" if cell["mark"] is None else "mark {} / {}: ".format(*cell["mark"])
    note = mark + cell["verdict"] + (" (its answer is wrong)" if wrong else "")
    return (f"| {cell['test']} | {cell['peer']} | {cell['heed']:.1f} | {cell['peer_rate']:.1f} | "
            f"**{cell['ratio']:.2f}** ({cell['least']:.2f}–{cell['most']:.2f}) | {cell['pairs']} | "
            f"{cell['ceiling_free_attention']:.2f} | {cell['ceiling_roofs']:.2f} | {note} |")


def machine_lines(machine):
    peaks = machine["peak_gflops"]
    return [f"{machine['cpu']} (family {machine['family']}), {machine['isa']}, "
            f"{machine['threads']} threads; measured in these runs: {peaks['fp32']:.0f} GFLOP/s "
            f"fp32, {peaks['bf16']:.0f} bf16, {peaks['int8']:.0f} GOP/s int8, "
            f"{machine['stream_gbps']:.0f} GB/s.", "",
            "Tokens per second; the ratio is heed over the peer of the same turn: median (least–"
            "most). Ceilings of that ratio: were heed's attention free; were everything at the "
            "roofs above.", ""]


def model_lines(report, model, wrong):
    lines = [f"## {model['model']}: {model['about']['name']}, {model['about']['file_type']}", "",
             "| test | peer | heed | peer | heed ÷ peer | pairs | attention free "
             "| at the roofs | |",
             "|---|---|---|---|---|---|---|---|---|"]
    lines += [table_line(cell, (cell["model"], cell["peer"]) in wrong)
              for cell in report["cells"] if cell["model"] == model["model"]]
    more = [cell for cell in report["extrapolated"] if cell["model"] == model["model"]]
    if more:
        lines += ["", f"Extrapolated from {model['about']['layers']} layers to {model['layers']} "
                  "(not measured):", "", "| test | peer | heed | peer | heed ÷ peer |",
                  "|---|---|---|---|---|"]
        lines += [f"| {cell['test']} | {cell['peer']} | {cell['heed']:.1f} | "
                  f"{cell['peer_rate']:.1f} | {cell['ratio']:.2f} |" for cell in more]
    for choice in report["choices"]:
        if choice["model"] == model["model"]:
            lines += ["", f"{choice['engine']}: prompts with `{choice['config']['pp']}`, "
                      f"generation with `{choice['config']['tg']}`"]
    return lines + [""]


def answer_line(row):
    nats = "" if row["nll_difference"] is None else f", {row['nll_difference']:+.4f} nats a token"
    words = "WRONG" if row["wrong"] else "right"
    if not row["same_tokens"]:
        words = "not compared: it cuts the text into other tokens"
    return (f"- {row['model']}, {row['engine']}: {row['agreement']:.1%} of {row['positions']} "
            f"predictions are llama.cpp's{nats}: {words}")


def refusal_line(row):
    test = f", {row['test']}" if row["test"] else ""
    return f"- {row['model']}, {row['engine']}{test}: {row['message']}"


def markdown(report):
    if report["machine"] is None:
        return "nothing is measured yet\n"
    wrong = {(row["model"], row["engine"]) for row in report["answers"] if row["wrong"]}
    lines = machine_lines(report["machine"])
    for model in report["models"]:
        lines += model_lines(report, model, wrong)
    for title, line_of, part in (("Answers", answer_line, report["answers"]),
                                 ("Not measured", refusal_line, report["not_measured"])):
        if part:
            lines += [f"## {title}", "", *map(line_of, part), ""]
    return "\n".join(lines[:-1]) + "\n"
