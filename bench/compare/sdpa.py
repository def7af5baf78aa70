#!/usr/bin/env python3
"""PyTorch's scaled_dot_product_attention on the shapes of `heed bench kernels`.

    heed bench kernels -o json > kernels.json
    python3 bench/compare/sdpa.py kernels.json > sdpa.json

Every distinct shape of the report is timed in f32 and bf16 on as many threads as heed had, and the
median is set against heed's of the same format. The two run in different processes, so a ratio here
is weaker evidence than the alternating ones against ggml. Differences in the work that favour
PyTorch: its keys and values lie ready as tensors (heed's figure includes storing them), and a
prompt is one call over all rows. Needs torch (pip install torch).
"""
import argparse
import json
import statistics
import sys
import time

try:
    import torch
    import torch.nn.functional as functional
except ImportError:
    sys.exit("sdpa.py needs PyTorch: pip install torch")

TYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def shapes_of(report):
    """(test, d, kv_heads, group, length, copies) -> {format: heed's median in seconds}."""
    shapes = {}
    for row in report["rows"]:
        if row["engine"] == "heed" and row["format"] in TYPES:
            key = tuple(row[name] for name in ("test", "d", "kv_heads", "group", "length"))
            shapes.setdefault(key, {})[row["format"]] = (row["median_s"], row["copies"])
    return shapes


def exact(query, key, value, causal, group):
    """The last query row in fp64. query [1, H, Tq, d]; key, value [1, G, T, d]."""
    row = query[:, :, -1:].double()
    keys = key.double().repeat_interleave(group, dim=1)
    values = value.double().repeat_interleave(group, dim=1)
    scores = row @ keys.transpose(-1, -2) / key.shape[-1] ** 0.5
    return torch.softmax(scores, dim=-1) @ values


def measure(shape, kind, copies, seconds_limit):
    """Median seconds of a call and the error of its last row, relative to the mean magnitude."""
    test, d, kv_heads, group, length = shape
    prefill = test == "prefill"
    generator = torch.Generator().manual_seed(1)
    queries = length if prefill else 1

    def tensor(heads, rows):
        return torch.randn((1, heads, rows, d), generator=generator).to(TYPES[kind])

    query = tensor(kv_heads * group, queries)
    keys = [tensor(kv_heads, length)]
    values = [tensor(kv_heads, length)]
    for _ in range(1, copies):  # memory of their own, so that no cache holds what is read next
        keys.append(keys[0].clone())
        values.append(values[0].clone())

    def call(i):
        return functional.scaled_dot_product_attention(
            query, keys[i], values[i], is_causal=prefill, enable_gqa=group > 1)

    answer = call(0)
    truth = exact(query, keys[0], values[0], prefill, group)
    error = (answer[:, :, -1:].double() - truth).abs().max() / truth.abs().mean()
    times = []
    started = time.perf_counter()
    while len(times) < 5 or time.perf_counter() - started < seconds_limit:
        before = time.perf_counter()
        for i in range(copies):
            call(i)
        times.append((time.perf_counter() - before) / copies)
        if time.perf_counter() - started > 10 * seconds_limit and len(times) >= 3:
            break
    return statistics.median(times), len(times), float(error)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", help="JSON of `heed bench kernels -o json`")
    parser.add_argument("--seconds", type=float, default=2.0, help="time a case (default 2)")
    arguments = parser.parse_args()
    with open(arguments.report, encoding="utf-8") as file:
        report = json.load(file)
    torch.set_num_threads(report["machine"]["threads"])
    rows = []
    for shape, formats in shapes_of(report).items():
        for kind, (heed_median, copies) in formats.items():
            with torch.inference_mode():
                median, rounds, error = measure(shape, kind, copies, arguments.seconds)
            rows.append({
                "engine": "torch", "format": kind, "test": shape[0], "d": shape[1],
                "kv_heads": shape[2], "group": shape[3], "length": shape[4], "rounds": rounds,
                "copies": copies, "median_s": median, "error": error,
                "heed_median_s": heed_median, "heed_times_faster": median / heed_median})
            print(f"{' '.join(map(str, shape))} {kind}: torch {median * 1e3:.3f} ms, "
                  f"heed {heed_median * 1e3:.3f} ms", file=sys.stderr)
    json.dump({"torch": torch.__version__, "threads": torch.get_num_threads(), "rows": rows},
              sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
