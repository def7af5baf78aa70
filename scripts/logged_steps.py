"""Steps of the scripts: progress lines, logs, and an end to everything that a step started."""
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

PROGRAM = pathlib.Path(sys.argv[0]).name

GRACE_SECONDS = 10.0  # between SIGTERM and SIGKILL to what an interrupted step started


class Failed(Exception):
    """What went wrong, said once, with the way out."""


def say(text):
    print(f"{PROGRAM}: {text}", flush=True)


class Step:
    """One progress line: what is being done, then how many seconds it took. On a terminal it counts
    the compiled files meanwhile."""

    def __init__(self, text):
        self.text = text

    def __enter__(self):
        self.start = time.monotonic()
        print(f"{PROGRAM}: {self.text} ...", end="", flush=True)
        return self

    def show(self, counts):
        if sys.stdout.isatty():
            print(f"\r{PROGRAM}: {self.text} ... {counts}", end="", flush=True)

    def __exit__(self, kind, value, trace):
        seconds = time.monotonic() - self.start
        end = {None: "", KeyboardInterrupt: " stopped after"}.get(kind, " failed after")
        print(f"{end} {seconds:.1f} s", flush=True)


def end_group(child):
    """Interrupts everything the child started: ninja orphaned by cmake would go on compiling."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            break
        except PermissionError:  # sudo's child belongs to root: apt ends by itself
            break
        limit = time.monotonic() + GRACE_SECONDS
        while time.monotonic() < limit and group_lives(child):
            time.sleep(0.05)
    child.wait()


def group_lives(child):
    child.poll()
    try:
        os.killpg(child.pid, 0)
        return True
    except (ProcessLookupError, PermissionError):
        return False


def ninja_counts(log):
    """The last "[12/80]" of a log, or nothing."""
    with open(log, "rb") as text:
        text.seek(max(0, log.stat().st_size - 4096))
        found = re.findall(rb"^\[\d+/\d+\]", text.read(), re.MULTILINE)
    return found[-1].decode() if found else ""


def telling_lines(log):
    """What ninja says first of a failed command, else the last lines."""
    lines = log.read_text(errors="replace").splitlines()
    failed = [at for at, line in enumerate(lines) if line.startswith("FAILED: ")]
    return lines[failed[0]:failed[0] + 20] if failed else lines[-15:]


def run_with_log(log, command, way_out=None, step=None, **kwargs):
    """Runs the command with all output in the file `log`, a path."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "wb") as out:
        out.write((" ".join(map(str, command)) + "\n").encode())
        out.flush()
        try:
            child = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT,
                                     stdin=subprocess.DEVNULL, start_new_session=True, **kwargs)
        except OSError as error:
            raise Failed(f"{command[0]}: {error.strerror}; install it and run this again")
        try:
            while True:
                try:
                    code = child.wait(timeout=0.5 if step else None)
                    break
                except subprocess.TimeoutExpired:
                    step.show(ninja_counts(log))
        except KeyboardInterrupt:
            end_group(child)
            raise
    if code:
        raise Failed("\n".join([f"{command[0]} ended with exit code {code}:"]
                               + ["    " + line[:200] for line in telling_lines(log)]
                               + [f"the full log is {log}"] + ([way_out] if way_out else [])))


def interrupt(number, frame):
    raise KeyboardInterrupt


def obey_signals():
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup stays obeyed
            signal.signal(number, interrupt)
