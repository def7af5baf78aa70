"""Steps of scripts/bootstrap: progress lines, logs, and an end to everything that a step started."""
import os
import signal
import subprocess
import time

GRACE_SECONDS = 10.0  # between SIGTERM and SIGKILL to what an interrupted step started


class Failed(Exception):
    """What went wrong, said once, with the way out."""


def say(text):
    print(f"bootstrap: {text}", flush=True)


class Step:
    """One progress line: what is being done, then how many seconds it took."""

    def __init__(self, text):
        self.text = text

    def __enter__(self):
        self.start = time.monotonic()
        print(f"bootstrap: {self.text} ...", end="", flush=True)
        return self

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


def run_with_log(log, command, way_out=None, **kwargs):
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
            code = child.wait()
        except KeyboardInterrupt:
            end_group(child)
            raise
    if code:
        tail = log.read_text(errors="replace").splitlines()[-15:]
        raise Failed("\n".join([f"{command[0]} ended with exit code {code}; its last lines:"]
                               + ["    " + line[:200] for line in tail]
                               + [f"the full log is {log}"] + ([way_out] if way_out else [])))


def interrupt(number, frame):
    raise KeyboardInterrupt


def obey_signals():
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup stays obeyed
            signal.signal(number, interrupt)
