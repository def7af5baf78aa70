#!/usr/bin/env python3
"""libheed needs a C++20 compiler alone: without ggml and llama.cpp it is configured all the same, its
units see no include folder but heed's own, and nothing that needs more is offered."""
import json
import os
import pathlib
import shlex
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROOMS = {"base", "cpu", "kernels", "linear", "kv", "attention", "select", "mechanisms",
         "policy"}


def output(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))}:\n{done.stdout}")
    return done.stdout


def include_folders(words):
    """Of -I, -isystem and their like, joined to the flag or behind it."""
    found = set()
    for flag in ("-I", "-isystem", "-iquote", "-idirafter", "-include"):
        for word, after in zip(words, words[1:] + [""]):
            if word == flag:
                found.add(after)
            elif word.startswith(flag) and not (flag == "-I" and word.startswith("-include")):
                found.add(word[len(flag):])
    return found


class CoreAlone(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        keep = tempfile.TemporaryDirectory()
        cls.addClassCleanup(keep.cleanup)
        cls.build = pathlib.Path(keep.name)
        cls.said = output("cmake", "-S", ROOT, "-B", cls.build, "-DHEED_DEPS=/nonexistent",
                          "-DHEED_TESTS=OFF", f"-DCMAKE_CXX_COMPILER={os.environ['HEED_CXX']}")
        cls.units = json.loads((cls.build / "compile_commands.json").read_text())

    def test_cmake_says_what_is_missing_and_goes_on(self):
        self.assertIn("only heed_core and its tests are configured", self.said)
        self.assertIn("scripts/bootstrap", self.said)

    def test_the_library_is_a_target_and_the_command_is_not(self):
        targets = output("cmake", "--build", self.build, "--target", "help")
        self.assertRegex(targets, r"\bheed_core\b")
        self.assertNotRegex(targets, r"\bheed_(llm|cli)\b")

    def test_its_units_are_heeds_own_rooms_and_see_only_heeds_own_headers(self):
        rooms = set()
        for unit in self.units:
            path = pathlib.Path(unit["directory"], unit["file"]).relative_to(ROOT / "src")
            rooms.add(path.parts[0])
            words = unit.get("arguments") or shlex.split(unit["command"])
            self.assertEqual(include_folders(words), {str(ROOT / "include"), str(ROOT / "src")},
                             path)
            self.assertIn("-std=c++20", words, path)
        self.assertEqual(rooms, ROOMS)


if __name__ == "__main__":
    unittest.main()
