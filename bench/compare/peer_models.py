"""The files that are compared: published ones, copies in another type, random weights in the shapes
of larger models. Whatever is missing is pulled or written when a run needs it."""
import dataclasses
import json
import os
import pathlib
import subprocess
import sys

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


class Models:
    """By name; `folder` is where copies are written."""

    def __init__(self, root, build, folder):
        self.root, self.build, self.folder = root, build, folder
        self.heed = build / "heed"
        entries = json.loads((root / "models.json").read_text())["models"]
        self.catalogue = {entry["name"]: entry for entry in entries}

    def names(self):
        return ["smollm2", "smollm2-q4_0", "qwen", "qwen-q4_0", "gemma", "1b", "1b-4", "8b", "8b-4"]

    def get(self, word):
        """A known name, or NAME=FILE."""
        if "=" in word:
            name, file = word.split("=", 1)
            model = Model(name, pathlib.Path(file))
            if not model.file.is_file():
                raise ValueError(f"{file}: no such file")
        elif word in self.names():
            model = self.known(word)
        else:
            raise ValueError(f"no model '{word}': {', '.join(self.names())}, or NAME=FILE")
        model.about = self.describe(model.file)
        return model

    def known(self, name):
        # Marks on prompts of 4,096 are stated against these peers alone; llama.cpp's is judged by
        # scripts/bench.
        mark = (Test("pp", 4096),)
        if name == "smollm2":
            return Model(name, self.published("smollm2:135m"),
                         extra={"ik_llama.cpp": mark, "ik_llama.cpp-rtr": mark})
        if name == "smollm2-q4_0":
            return Model(name, self.copy("smollm2:135m", "SmolLM2-135M-Instruct.Q4_0.gguf"),
                         extra={"openvino": mark})
        if name == "qwen":
            return Model(name, self.published("qwen2.5-coder:0.5b"))
        if name == "qwen-q4_0":
            return Model(name, self.copy("qwen2.5-coder:0.5b",
                                         "qwen2.5-coder-0.5b-instruct.Q4_0.gguf"),
                         peers=("openvino",))
        if name == "gemma":
            return Model(name, self.published("gemma3:270m"))
        shape, _, layers = name.partition("-")
        file = self.random(shape, int(layers or 2))
        if layers:  # told apart by generation; a prompt's head is one row
            return Model(name, file, tests=DEEP, like=shape)
        return Model(name, file, layers={"1b": 16, "8b": 32}[shape], deeper=f"{name}-4")

    def published(self, name):
        home = pathlib.Path(os.environ.get("HEED_HOME") or pathlib.Path.home() / ".cache" / "heed")
        file = home / "models" / self.catalogue[name]["file"]
        if not file.exists():
            subprocess.run([self.heed, "pull", name], check=True, stdout=sys.stderr)
        return file

    def write(self, program, arguments, file):
        """Through one of bench/'s programs, built when it is missing."""
        if file.exists():
            return file
        tool = self.build / "bench" / program
        if not tool.exists():
            subprocess.run(["cmake", "--build", self.build, "--target", program], check=True,
                           stdout=sys.stderr)
        print(f"peers: writing {file.name}", file=sys.stderr, flush=True)
        partial = file.with_suffix(".part")
        subprocess.run([tool, arguments[0], partial, *arguments[1:]], check=True,
                       stdout=sys.stderr)
        partial.rename(file)
        return file

    def copy(self, name, file, kind="Q4_0"):
        return self.write("bench_requantize", [self.published(name), kind], self.folder / file)

    def random(self, shape, layers):
        return self.write("bench_random_weights",
                          [self.published("smollm2:135m"), shape, str(layers)],
                          self.folder / f"random-{shape}-{layers}layers.Q4_K_M.gguf")

    def describe(self, file):
        shown = subprocess.run([self.heed, "show", "-m", file, "--weights", "-o", "json"],
                               stdout=subprocess.PIPE, text=True, check=True)
        about = json.loads(shown.stdout)
        del about["path"]
        return about
