#!/usr/bin/env python3
"""make format and make tidy on a machine without their tools: the line to run, before any work."""
import pathlib
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]


class MissingTools(unittest.TestCase):
    def test_the_package_to_install_is_named_and_nothing_else_is_done(self):
        with tempfile.TemporaryDirectory() as folder:
            # A PATH that holds what this Makefile calls before it looks, and nothing else.
            for tool in ("sh", "nproc"):
                pathlib.Path(folder, tool).symlink_to(shutil.which(tool))
            for target, package in (("format", "clang-format"), ("tidy", "clang-tidy")):
                done = subprocess.run([shutil.which("make"), "-C", ROOT, target], text=True,
                                      env={"PATH": folder}, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE)
                self.assertEqual(done.returncode, 2, done)
                self.assertIn(f"apt-get install {package}", done.stderr)


if __name__ == "__main__":
    unittest.main()
