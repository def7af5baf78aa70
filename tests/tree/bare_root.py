"""Installed commands where nothing else of the machine is, and what they must answer there."""
import json
import os
import pathlib
import shutil
import subprocess

BUILD = pathlib.Path(os.environ["HEED_BINARY_DIR"])


def write_model(path):
    """A model of random weights."""
    subprocess.run([BUILD / "tests" / "tiny_model", path], check=True)


def may_change_root(prefix):
    """Whether a program can be run below another root: by root, or in a name space of its own."""
    return subprocess.run([*prefix, "/", "/bin/true"], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL).returncode == 0


class BareRoot:
    """An empty folder as the root of a program: no compiler, no library, no /proc, no shell."""

    def __init__(self, case, folder):
        places = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
        chroot, unshare = (shutil.which(name, path=places) for name in ("chroot", "unshare"))
        tools = [[chroot], [unshare, "--user", "--map-root-user", chroot]]
        self.prefix = next((tool for tool in tools if all(tool) and may_change_root(tool)), None)
        if not self.prefix:
            case.skipTest("neither chroot nor a user name space is allowed here")
        self.folder = pathlib.Path(folder)
        self.folder.mkdir()

    def put(self, path, source):
        """Copies `source` to the absolute `path` of the new root."""
        target = self.folder / str(path).lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)

    def put_with_libraries(self, path, source):
        """The same for a program that is not static: with what its loader reads, nothing more."""
        self.put(path, source)
        listing = subprocess.run(["ldd", source], stdout=subprocess.PIPE, text=True, check=True)
        for word in listing.stdout.split():
            if word.startswith("/"):
                self.put(word, word)

    def command(self, *words):
        return [*self.prefix, self.folder, *words]


def output(command, env=None):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          stdin=subprocess.DEVNULL, env=env or {})
    if done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))}: exit code {done.returncode}\n"
                             f"{done.stderr}")
    return done.stdout


def check_answers(case, command, model, env=None):
    """`command(*words)` is the line that runs heed with them: doctor and a prompt must work.
    Returns what doctor says."""
    facts = json.loads(output(command("doctor", "--rounds", "1", "-t", "1", "-o", "json"), env))
    case.assertGreater(facts["machine"]["peak_gflops"]["fp32"], 0)
    answer = json.loads(output(command("run", "-m", model, "-p", "Name a colour.", "-n", "8",
                                       "--temp", "0", "-t", "2", "-o", "json"), env))
    case.assertTrue(answer["generated_tokens"] == 8 or answer["stop"] == "end", answer)
    case.assertGreater(answer["prompt_tokens"], 5)
    return facts
