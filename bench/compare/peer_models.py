"""The files that are compared: published ones, copies in another type, random weights in the shapes
of larger models. Whatever is missing is pulled or written when a run needs it."""
import dataclasses
import json
import pathlib
import subprocess

import bench_files
from peer_tests import Test

PEERS = ("llama.cpp", "ik_llama.cpp", "ik_llama.cpp-rtr", "openvino")
DEEP = (Test("tg", 32, 0), Test("tg", 32, 4096))
PROMPTS = tuple(Test("pp", n) for n in (128, 512, 2048, 8192))


@dataclasses.dataclass
class Model:
    name: str
    file: pathlib.Path
    peers: tuple = PEERS
    tests: tuple = PROMPTS + DEEP
    extra: dict = dataclasses.field(default_factory=dict)  # further tests of single peers
    layers: int = 0      # of the whole model that a random file stands for; 0: not random
    deeper: str = ""     # the same shape with two more layers: how a layer is told from the rest
    like: str = ""       # the model whose configurations serve here too
    about: dict = dataclasses.field(default_factory=dict)  # what `heed show` says of the file

    @property
    def is_random(self):
        return bool(self.layers or self.like)

    def tests_of(self, peer):
        return self.tests + tuple(self.extra.get(peer, ()))


NAMES = ("smollm2", "smollm2-q4_0", "qwen", "qwen-q4_0", "gemma", "1b", "1b-4", "8b", "8b-4")


def get(word):
    """A known name, or NAME=FILE."""
    if "=" in word:
        name, file = word.split("=", 1)
        model = Model(name, pathlib.Path(file))
        if not model.file.is_file():
            raise ValueError(f"{file}: no such file")
    elif word in NAMES:
        model = known(word)
    else:
        raise ValueError(f"no model '{word}': {', '.join(NAMES)}, or NAME=FILE")
    model.about = describe(model.file)
    return model


def known(name):
    # Marks on prompts of 4,096 are stated against these peers alone; llama.cpp's is judged by
    # scripts/bench.
    mark = (Test("pp", 4096),)
    if name == "smollm2":
        return Model(name, bench_files.published("smollm2:135m"),
                     extra={"ik_llama.cpp": mark, "ik_llama.cpp-rtr": mark})
    if name == "smollm2-q4_0":
        return Model(name, bench_files.smollm2_in_q4_0(), extra={"openvino": mark})
    if name == "qwen":
        return Model(name, bench_files.published("qwen2.5-coder:0.5b"))
    if name == "qwen-q4_0":
        return Model(name, bench_files.in_q4_0("qwen2.5-coder:0.5b",
                                               "qwen2.5-coder-0.5b-instruct.Q4_0.gguf"),
                     peers=("openvino",))
    if name == "gemma":
        return Model(name, bench_files.published("gemma3:270m"))
    shape, _, layers = name.partition("-")
    file = random_weights(shape, int(layers or 2))
    if layers:
        return Model(name, file, like=shape)
    return Model(name, file, layers={"1b": 16, "8b": 32}[shape], deeper=f"{name}-4")


def random_weights(shape, layers):
    return bench_files.written(f"random-{shape}-{layers}layers.Q4_K_M.gguf",
                               "bench_random_weights", bench_files.published("smollm2:135m"),
                               shape, str(layers))


def describe(file):
    shown = subprocess.run([bench_files.HEED, "show", "-m", file, "--weights", "-o", "json"],
                           stdout=subprocess.PIPE, text=True, check=True)
    about = json.loads(shown.stdout)
    del about["path"]
    return about
