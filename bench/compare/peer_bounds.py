"""How far a ratio could go: the time that heed would need if everything ran at the machine's roofs.

Products with quantised weights cannot reach the int8 roof where multiplications share their ports
with vpdpbusd: a scale and a fused multiply-add a block of 32 cap them at 80 %, a minimum a block at
73 %, scales a block of 16 at 67 % (counted and measured on Zen 4). Of a prompt's last layer only keys
and values are counted: behind them one row goes on. Attention is counted at the bf16 roof, generation at the reading rate of memory; everything between costs nothing here. A bound is
optimistic, and 1 over it is the share of the peer's time that no work on heed can take away.
"""
BLOCK_CAPS = {"Q4_0": 0.80, "Q5_0": 0.80, "Q8_0": 0.80, "IQ4_NL": 0.80, "IQ4_XS": 0.80,
              "MXFP4": 0.80, "Q4_1": 0.73, "Q5_1": 0.73, "Q4_K": 0.73, "Q5_K": 0.73,
              "Q6_K": 0.67, "Q3_K": 0.67}
PAGE_BYTES = 2  # of a stored number: bf16


def products(about):
    """(weight class, whether it is the head, of which a prompt needs one row)."""
    for weight in about["weights"]:
        if weight["kernel"] not in ("row lookup", "vector"):
            yield weight, weight["name"] in ("output.weight", "token_embd.weight")


def product_rate(weight, machine):
    """Multiplications and additions a second, at best."""
    peaks = machine["peak_gflops"]
    if weight["type"] in ("F32", "F16"):
        return 1e9 * peaks["fp32"]
    if weight["type"] in BLOCK_CAPS and peaks["int8"] > 0:
        return 1e9 * peaks["int8"] * BLOCK_CAPS[weight["type"]]
    return 1e9 * (peaks["bf16"] or peaks["fp32"])


def seen_by(layer_window, length):
    """Keys that each of the first `length` queries of a layer reads, summed."""
    if layer_window <= 0 or length <= layer_window:
        return length * (length + 1) / 2
    return layer_window * (layer_window + 1) / 2 + (length - layer_window) * layer_window


def windows(about):
    return about["window"] or [0] * about["layers"]


def layers_multiplied(about, weight):
    """The share of a class of weights that every token of a prompt passes."""
    if weight["name"].startswith(("blk.*.attn_k.", "blk.*.attn_v.")):
        return 1
    return (about["layers"] - 1) / about["layers"]


def prompt_seconds(about, n, machine):
    stream = 1e9 * machine["stream_gbps"]
    seconds = 0.0
    for weight, head in products(about):
        size = weight["inputs"] * weight["outputs"] * weight["tensors"]
        if head:
            seconds += weight["file_bytes"] / stream
        else:
            size *= layers_multiplied(about, weight)
            seconds += 2 * n * size / product_rate(weight, machine)
    peaks = machine["peak_gflops"]
    # Two multiplications and additions a key and component: the score, and the value's share.
    work = 2 * about["heads"] * (about["dk"] + about["dv"])
    keys = sum(seen_by(window, n) for window in windows(about)[:-1])
    return seconds + work * keys / (1e9 * (peaks["bf16"] or peaks["fp32"]))


def generation_seconds(about, n, depth, machine):
    weights = n * sum(weight["file_bytes"] for weight, _ in products(about))
    entry = PAGE_BYTES * about["kv_heads"] * (about["dk"] + about["dv"])
    keys = sum(min(held + 1, window or held + 1)
               for window in windows(about) for held in range(depth, depth + n))
    return (weights + entry * keys) / (1e9 * machine["stream_gbps"])


def least_seconds(about, test, machine):
    """Of the whole test."""
    if test.kind == "pp":
        return prompt_seconds(about, test.n, machine)
    return generation_seconds(about, test.n, test.depth, machine)
