"""The engines behind one interface: choose a configuration, measure tests, answer for the text.

heed, llama.cpp and ik_llama.cpp run their own benchmark programs, a process for each turn; OpenVINO
GenAI has none that takes token counts, so openvino_worker.py keeps its pipelines between turns.
"""
import json
import pathlib
import random
import select
import statistics
import subprocess
import tempfile

from peer_tests import Test, batches

CHOICE_PROMPT, CHOICE_SHORT, CHOICE_NEW = Test("pp", 2048), Test("pp", 512), Test("tg", 16, 0)
PATIENCE_S = 1800  # for one process, or one answer of OpenVINO's
CHEAP_FILL = 3     # repeats of a generation where the depth is filled once for all of them
OPENVINO = ("stateful", "paged", "paged, whole prompts")
OPENVINO_WORKER = pathlib.Path(__file__).resolve().with_name("openvino_worker.py")
ANSWER_TOKENS = 512  # of the text; answers are compared behind each of them,
ANSWER_STEP = 32     # or, where a call tells one only, behind every 32nd


class Refused(Exception):
    """The engine's own words on why it does not take a file or a test."""


def last_words(stderr):
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return " ".join(lines[-3:]) or "no message"


def process(command):
    """Its stdout; what it says on stderr belongs to the refusal."""
    name = pathlib.Path(str(command[0])).name
    try:
        done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, errors="replace",
                              timeout=PATIENCE_S)
    except subprocess.TimeoutExpired as problem:
        raise Refused(f"{name} was not done after {PATIENCE_S} s") from problem
    if done.returncode != 0:
        raise Refused(f"{name} ended with {done.returncode}: {last_words(done.stderr)}")
    return done.stdout


def comma(values):
    return ",".join(str(value) for value in sorted(set(values)))


def benchmark_calls(tests):
    """(kind, repeats, arguments) of each call of a program that fills a depth once for all
    repeats: heed bench, and llama.cpp's llama-bench."""
    for kind, n, repeats, part in batches(tests, CHEAP_FILL):
        if kind == "pp":
            what = ["-p", comma(test.n for test in part), "-n", 0]
        else:
            what = ["-p", 0, "-n", n, "-d", comma(test.depth for test in part)]
        yield kind, repeats, [*what, "-r", repeats]


def rate(samples):
    return {"tokens_per_s": statistics.median(samples), "samples": samples}


def best(trials, test):
    """The configuration of the highest rate among {configuration: {test: rate}}."""
    return max(trials, key=lambda config: trials[config][test]["tokens_per_s"])


class Engine:
    def __init__(self, name, threads):
        self.name, self.threads = name, threads

    def default(self):
        """{"pp": configuration, "tg": configuration}, each a text."""
        return {"pp": "", "tg": ""}

    def choose(self, model):
        """The faster configuration of a quick trial, for prompts and for generation."""
        del model
        return self.default()

    def measure(self, model, tests, config):
        """{test: {"tokens_per_s", "samples", ...}}"""
        raise NotImplementedError

    def answers(self, model, text, reference, config):
        """{"next": {index: id}, "nll": nats or None}; None if the engine has no way to tell.
        `reference` is what this gave for llama.cpp, which needs none."""
        del model, text, reference, config

    def stop(self):
        """Ends what the engine keeps between turns."""


class Heed(Engine):
    def __init__(self, program, threads):
        super().__init__("heed", threads)
        self.program = program

    def measure(self, model, tests, config):
        found = {}
        for kind, _, what in benchmark_calls(tests):
            text = process([self.program, "bench", "-m", model.file, *what, "-t", self.threads,
                            "--beyond-context", "--offline", "-q", "-o", "json"])
            report = json.loads(text)
            for row in report["rows"]:
                test = Test(kind, row["n"], row["depth"])
                found[test] = {**rate([row["tokens_per_s"]]), "attention_s": row["attention_s"],
                               "kl_vs_ref": row["kl_vs_ref"], "engine_config": row["config"],
                               "machine": report["machine"]}
        return found


class LlamaFamily(Engine):
    """A llama-bench, and bench_next_tokens beside the library it comes from."""

    def __init__(self, name, bench, next_tokens, threads):
        super().__init__(name, threads)
        self.bench, self.next_tokens = bench, next_tokens
        self.next_flags = []

    def run(self, model, arguments, config):
        text = process([self.bench, "-m", model.file, "-t", self.threads, *arguments,
                        *config.split(), "-o", "json"])
        start = text.find("[")  # ik_llama.cpp greets on stdout
        if start < 0:
            raise Refused(f"{self.bench.name} printed no rows")
        return json.loads(text[start:])

    def answers(self, model, text, reference, config):
        del reference, config
        if not self.next_tokens.exists():
            return None
        found = json.loads(process([self.next_tokens, model.file, text, ANSWER_TOKENS,
                                    self.threads, *self.next_flags]))
        return {"tokens": found["tokens"], "next": dict(enumerate(found["next"])),
                "nll": found["nll"]}


class LlamaCpp(LlamaFamily):
    def __init__(self, bench, next_tokens, threads):
        super().__init__("llama.cpp", bench, next_tokens, threads)

    def default(self):
        return dict.fromkeys(("pp", "tg"), "-fa on --repack 1 -ub 512")

    def choose(self, model):
        trials = {}
        for flash in ("on", "off"):
            for repack in (1, 0):
                config = f"-fa {flash} --repack {repack} -ub 512"
                trials[config] = self.measure(model, [CHOICE_SHORT, CHOICE_NEW],
                                              {"pp": config, "tg": config})
        prompt, generation = best(trials, CHOICE_SHORT), best(trials, CHOICE_NEW)
        longer = {}
        for ubatch in (512, 2048):
            config = prompt.replace("-ub 512", f"-ub {ubatch}")
            longer[config] = self.measure(model, [CHOICE_PROMPT], {"pp": config})
        return {"pp": best(longer, CHOICE_PROMPT), "tg": generation}

    def measure(self, model, tests, config):
        found = {}
        for kind, repeats, what in benchmark_calls(tests):
            # Its warm-up is the whole prompt, which a long one does not need.
            warm = ["--no-warmup"] if kind == "pp" and repeats == 1 else []
            for row in self.run(model, [*what, *warm], config[kind]):
                test = Test(kind, row["n_prompt"] or row["n_gen"], row["n_depth"])
                found[test] = rate(row["samples_ts"])
        return found


class IkLlamaCpp(LlamaFamily):
    """Its llama-bench fills a depth by -gp, again for every repetition."""

    def __init__(self, bench, next_tokens, threads, repack):
        super().__init__("ik_llama.cpp-rtr" if repack else "ik_llama.cpp", bench, next_tokens,
                         threads)
        self.base = f"-fa 1 -rtr {int(repack)}"
        self.next_flags = ["repack"] if repack else []

    def default(self):
        return dict.fromkeys(("pp", "tg"), f"{self.base} -ub 512")

    def choose(self, model):
        trials = {}
        for ubatch in (512, 2048):
            config = f"{self.base} -ub {ubatch}"
            trials[config] = self.measure(model, [CHOICE_PROMPT], {"pp": config})
        return {"pp": best(trials, CHOICE_PROMPT), "tg": f"{self.base} -ub 512"}

    @staticmethod
    def calls(tests):
        """(kind, depth, arguments) of each call."""
        for kind, n, repeats, part in batches(tests):
            if kind == "pp":
                lengths = comma(test.n for test in part)
                yield kind, 0, ["-p", lengths, "-n", 0, "-r", repeats]
                continue
            for test in part:
                what = ["-n", 0, "-gp", f"{test.depth},{n}"] if test.depth > 0 else ["-n", n]
                yield kind, test.depth, ["-p", 0, *what, "-r", repeats]

    def measure(self, model, tests, config):
        found = {}
        for kind, depth, what in self.calls(tests):
            for row in self.run(model, what, config[kind]):
                n = row["n_prompt" if kind == "pp" else "n_gen"]
                found[Test(kind, n, depth)] = rate(row["samples_ts"])
        return found


class OpenVino(Engine):
    def __init__(self, python, threads):
        super().__init__("openvino", threads)
        self.python, self.worker, self.errors = python, None, None
        self.open = set()  # keys of the worker's pipelines

    def start(self):
        self.errors = tempfile.TemporaryFile()
        self.worker = subprocess.Popen([self.python, OPENVINO_WORKER], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, stderr=self.errors, text=True)

    def stop(self):
        if self.worker is not None:
            self.end()

    def end(self):
        """Of the worker and its pipelines: (exit code, last words)."""
        self.worker.communicate()  # the end of its input is the end of its work
        self.errors.seek(0)
        words = last_words(self.errors.read().decode(errors="replace"))
        code = self.worker.returncode
        self.errors.close()
        self.worker, self.open = None, set()
        return code, words

    def ask(self, request):
        if self.worker is None:
            self.start()
        answer = ""
        try:
            self.worker.stdin.write(json.dumps(request) + "\n")
            self.worker.stdin.flush()
            if not select.select([self.worker.stdout], [], [], PATIENCE_S)[0]:
                self.worker.kill()
                self.end()
                raise Refused(f"OpenVINO GenAI was not done after {PATIENCE_S} s")
            answer = self.worker.stdout.readline()
        except BrokenPipeError:
            pass  # it ended before it was asked
        if not answer:
            raise Refused("OpenVINO GenAI's process ended with {}: {}".format(*self.end()))
        reply = json.loads(answer)
        if "error" in reply:
            raise Refused(reply["error"])
        return reply

    def key(self, model, config):
        """Of the pipeline with that file and configuration, which is opened when it is new."""
        key = f"{config}: {model.file}"
        if key not in self.open:
            self.ask({"open": {"name": config, "file": str(model.file),
                               "threads": self.threads}, "as": key})
            self.open.add(key)
        return key

    def default(self):
        return dict.fromkeys(("pp", "tg"), "paged")

    def choose(self, model):
        trials, refused = {}, []
        for config in OPENVINO:
            try:
                both = {"pp": config, "tg": config}
                self.measure(model, [Test("pp", 64)], both)  # to be warm
                trials[config] = self.measure(model, [CHOICE_PROMPT, CHOICE_NEW], both)
            except Refused as problem:
                refused.append(str(problem))
        if not trials:
            raise Refused(refused[0])
        chosen = {"pp": best(trials, CHOICE_PROMPT), "tg": best(trials, CHOICE_NEW)}
        for loser in trials.keys() - chosen.values():
            key = self.key(model, loser)
            self.ask({"close": key})
            self.open.discard(key)
        return chosen

    def prompt(self, model, length):
        draw = random.Random(length)
        return [draw.randrange(model.about["vocab"]) for _ in range(length)]

    def measure(self, model, tests, config):
        found = {}
        for test in tests:
            key = self.key(model, config[test.kind])
            samples = []
            for _ in range(test.repeats):
                # Generation needs a prompt: depth 0 is a prompt of one token.
                length = test.n if test.kind == "pp" else max(1, test.depth)
                new = 1 if test.kind == "pp" else test.n + 1
                done = self.ask({"run": {"prompt": self.prompt(model, length), "new": new},
                                 "as": key})
                if len(done["ids"]) != new:
                    raise Refused(f"{test}: {len(done['ids'])} tokens came where {new} were asked")
                samples.append(test.n / (done["first_s"] if test.kind == "pp"
                                         else sum(done["rest_s"])))
            found[test] = rate(samples)
        return found

    def answers(self, model, text, reference, config):
        del text
        key = self.key(model, config["pp"])
        tokens = reference["tokens"]
        found = {}
        for length in range(ANSWER_STEP, ANSWER_TOKENS + 1, ANSWER_STEP):
            done = self.ask({"run": {"prompt": tokens[:length], "new": 1}, "as": key})
            found[length - 1] = done["ids"][0]
        return {"next": found, "nll": None}
