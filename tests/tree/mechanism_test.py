#!/usr/bin/env python3
"""scripts/mechanism: what it writes compiles in the tree that it is written into, and what cannot be
a mechanism is refused."""
import os
import shutil
import subprocess
import sys
import unittest

import script_case

ROOT = script_case.ROOT
FLAGS = ["-std=c++20", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]


class Mechanism(script_case.FolderCase):
    def setUp(self):
        super().setUp()
        self.mechanisms = self.folder / "src" / "mechanisms"
        self.mechanisms.mkdir(parents=True)
        shutil.copy(ROOT / "src" / "mechanisms" / "registry.cpp", self.mechanisms)

    def write(self, *words):
        return subprocess.run([sys.executable, ROOT / "scripts" / "mechanism", *words, "--root",
                               self.folder], capture_output=True, text=True)

    def test_what_it_writes_compiles(self):
        done = self.write("my_blocks", "prefill")
        self.assertEqual(done.returncode, 0, done.stderr)
        folders = [f"-I{self.folder / 'src'}", f"-I{ROOT / 'src'}", f"-I{ROOT / 'include'}"]
        reference = self.mechanisms / "my_blocks" / "reference.cpp"
        reference.write_text('#include "mechanisms/my_blocks/reference.h"\n')
        for file in sorted(self.mechanisms.glob("**/*.cpp")):
            said = subprocess.run([os.environ["HEED_CXX"], *FLAGS, *folders, file],
                                  capture_output=True, text=True)
            self.assertEqual(said.returncode, 0, f"{file.name}: {said.stderr}")

    def test_the_registry_gets_one_line(self):
        before = (self.mechanisms / "registry.cpp").read_text()
        self.assertEqual(self.write("my_blocks", "prefill").returncode, 0)
        after = (self.mechanisms / "registry.cpp").read_text()
        self.assertEqual(len(after.split("\n")), len(before.split("\n")) + 1)
        self.assertIn("ROW(kMyBlocks)", after)

    def test_wrong_names_and_stages_are_refused_and_leave_nothing(self):
        before = (self.mechanisms / "registry.cpp").read_text()
        for words in (("MyBlocks", "prefill"), ("my-blocks", "prefill"), ("../x", "prefill"),
                      ("", "prefill"), ("my_blocks", "decode")):
            done = self.write(*words)
            self.assertEqual(done.returncode, 2, words)
            self.assertIn("must be", done.stderr)
        self.assertEqual((self.mechanisms / "registry.cpp").read_text(), before)
        self.assertEqual(self.write("my_blocks", "prefill").returncode, 0)
        self.assertIn("there already", self.write("my_blocks", "prefill").stderr)


if __name__ == "__main__":
    unittest.main()
