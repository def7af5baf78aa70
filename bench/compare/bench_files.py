"""Files that benchmarks use, here and in scripts/bench: published models, what bench/'s programs
write from them, and programs. Models that are missing are pulled or written when a run needs them.
"""
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "release"
HEED = BUILD / "heed"
FOLDER = ROOT / "build" / "bench"  # of what is written


def published(name):
    """The file of a model that models.json knows."""
    entries = json.loads((ROOT / "models.json").read_text())["models"]
    files = {entry["name"]: entry["file"] for entry in entries}
    home = pathlib.Path(os.environ.get("HEED_HOME") or pathlib.Path.home() / ".cache" / "heed")
    path = home / "models" / files[name]
    if not path.exists():
        subprocess.run([HEED, "pull", name], check=True, stdout=sys.stderr)
    return path


def written(file, program, source, *more):
    """FOLDER's `file` by one of bench/'s programs, which leave it whole or not at all."""
    path = FOLDER / file
    if path.exists():
        return path
    FOLDER.mkdir(parents=True, exist_ok=True)
    tool = BUILD / "bench" / program
    if not tool.exists():
        subprocess.run(["cmake", "--build", BUILD, "--target", program], check=True,
                       stdout=sys.stderr)
    print(f"writing {path.name}", file=sys.stderr, flush=True)
    subprocess.run([tool, source, path, *more], check=True, stdout=sys.stderr)
    return path


def in_q4_0(name, file):
    """A copy in Q4_0, which ggml can repack and every peer reads."""
    return written(file, "bench_requantize", published(name), "Q4_0")


def smollm2_in_q4_0():
    """The marks of SmolLM2 are stated on it; the published file is Q4_1."""
    return in_q4_0("smollm2:135m", "SmolLM2-135M-Instruct.Q4_0.gguf")


def llama_bench_path():
    """Where `scripts/bootstrap --llama-bench` leaves it; it may not be there yet."""
    found = subprocess.run([ROOT / "scripts" / "bootstrap", "--print-llama-bench"],
                           stdout=subprocess.PIPE, text=True, check=True)
    return pathlib.Path(found.stdout.strip())
