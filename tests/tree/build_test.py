#!/usr/bin/env python3
"""scripts/build with a cmake of our own: one line a step, logs, and what a failure shows."""
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / "scripts"
CMAKE = """#!/bin/sh
case "$*" in
  *--build*) echo "$@" > args; i=1
    while [ $i -le 40 ]; do echo "[$i/40] Building CXX object $i.o"; i=$((i + 1)); done
    if [ "$FAIL" = build ]; then
      echo "FAILED: b.o"; echo "b.cpp:7: error: no such word"
      i=1; while [ $i -le 60 ]; do echo "note $i"; i=$((i + 1)); done; exit 3
    fi
    if [ "$FAIL" = wait ]; then touch waiting; exec sleep 60; fi ;;
  *) [ "$FAIL" != configure ] || { echo "CMake Error: odd"; exit 1; } ;;
esac
"""


class Build(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="heed-build-"))
        self.addCleanup(shutil.rmtree, self.root)
        (self.root / "scripts").mkdir()
        for name in ("build", "logged_steps.py"):
            shutil.copy2(SCRIPTS / name, self.root / "scripts" / name)
        (self.root / "bin").mkdir()
        cmake = self.root / "bin" / "cmake"
        cmake.write_text(CMAKE)
        cmake.chmod(0o755)

    def start(self, *arguments, fail=""):
        path = f"{self.root / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return subprocess.Popen([sys.executable, self.root / "scripts" / "build", *arguments],
                                env={**os.environ, "PATH": path, "FAIL": fail}, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def run_build(self, *arguments, fail=""):
        child = self.start(*arguments, fail=fail)
        out, _ = child.communicate(timeout=60)
        return child.returncode, out

    def test_one_line_for_a_step_and_all_output_in_the_log(self):
        code, out = self.run_build("release", "heed", "tool")
        self.assertEqual(code, 0, out)
        self.assertRegex(out, r"\Abuild: building heed tool \(release\) \.\.\. \d+\.\d s\n\Z")
        self.assertEqual((self.root / "args").read_text().split(),
                         ["--build", "--preset", "release", "--target", "heed", "tool"])
        self.assertIn("[40/40]", (self.root / "build/release/log/build.log").read_text())

    def test_a_failed_file_is_shown_first_and_the_log_named(self):
        code, out = self.run_build("release", fail="build")
        self.assertEqual(code, 1)
        self.assertIn("b.cpp:7: error: no such word", out)
        self.assertNotIn("[12/40]", out)
        self.assertIn(str(self.root / "build/release/log/build.log"), out)
        self.assertLess(len(out.splitlines()), 30)

    def test_a_failed_configure_says_why(self):
        code, out = self.run_build("release", fail="configure")
        self.assertEqual(code, 1)
        self.assertIn("CMake Error: odd", out)
        self.assertIn("configure.log", out)

    def test_without_a_preset_the_usage_is_shown(self):
        code, out = self.run_build()
        self.assertEqual(code, 2)
        self.assertIn("scripts/build PRESET", out)

    def test_an_interrupt_ends_what_was_started(self):
        child = self.start("release", fail="wait")
        for _ in range(600):
            if (self.root / "waiting").exists():
                break
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        out, _ = child.communicate(timeout=30)
        self.assertEqual(child.returncode, 130, out)
        self.assertIn("continues where it stopped", out)
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                self.assertNotEqual(os.readlink(process / "cwd"), str(self.root), process)
            except OSError:
                continue  # it has ended, or is not ours


if __name__ == "__main__":
    unittest.main()
