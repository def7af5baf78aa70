#!/usr/bin/env python3
"""The installed tree is enough for a program outside: headers and a library with a compiler alone,
and the same through pkg-config's file and CMake's find_package. The command, its page and its
completions are there too, and uninstall takes all of it away."""
import json
import math
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True

from bare_root import BareRoot, check_answers, write_model

BUILD = os.environ["HEED_BINARY_DIR"]
COMPILER = os.environ["HEED_CXX"]
C_COMPILER = os.environ["HEED_CC"]
ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "tests" / "tree" / "external_program.cpp"
EXAMPLE = ROOT / "examples" / "generate.c"
PROJECT = """cmake_minimum_required(VERSION 3.22)
project(outside C CXX)
find_package(heed 0.1 REQUIRED)
add_executable(program "{program}")
target_link_libraries(program PRIVATE {library})
"""


def output(*command, env=None):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env=env)
    if done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))}:\n{done.stdout}")
    return done.stdout


class Installed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.keep = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.keep.cleanup)
        first = pathlib.Path(cls.keep.name) / "first"
        output("cmake", "--install", BUILD, "--prefix", first)
        # Moved, so that a path of the build or of the first prefix shows.
        cls.prefix = pathlib.Path(cls.keep.name) / "moved"
        first.rename(cls.prefix)
        cls.lib = next(cls.prefix.rglob("libheed.a")).parent

    def check(self, program):
        weights = [math.exp(score) for score in (2, 0, 2)]
        expected = [sum(w * v for w, v in zip(weights, column)) / sum(weights)
                    for column in ((1, 0, 4), (0, 1, 4))]
        actual = [float(word) for word in output(program).split()]
        for one, other in zip(expected, actual, strict=True):
            self.assertAlmostEqual(one, other, delta=0.02)  # bf16 pages: 8 bits of mantissa

    def compile(self, *arguments):
        program = pathlib.Path(self.keep.name) / self.id()
        output(COMPILER, "-std=c++20", "-Wall", "-Wextra", "-Werror", PROGRAM, "-o", program,
               *arguments)
        self.check(program)

    def test_a_compiler_alone_builds_a_program_on_headers_and_libheed(self):
        self.compile(f"-I{self.prefix}/include", f"-L{self.lib}", "-lheed", "-pthread")

    def test_pkg_config_finds_the_moved_prefix(self):
        if not shutil.which("pkg-config"):
            self.skipTest("pkg-config is not installed")
        os.environ["PKG_CONFIG_PATH"] = str(self.lib / "pkgconfig")
        self.compile(*output("pkg-config", "--cflags", "--libs", "heed").split())

    def project(self, **text):
        """The program of a project outside that finds heed with find_package."""
        source = pathlib.Path(self.keep.name) / self.id()
        source.mkdir()
        (source / "CMakeLists.txt").write_text(PROJECT.format(**text))
        output("cmake", "-S", source, "-B", source / "build", f"-DCMAKE_PREFIX_PATH={self.prefix}",
               f"-DCMAKE_C_COMPILER={C_COMPILER}", f"-DCMAKE_CXX_COMPILER={COMPILER}")
        output("cmake", "--build", source / "build")
        return source / "build" / "program"

    def test_find_package_finds_the_moved_prefix(self):
        self.check(self.project(program=PROGRAM, library="heed::heed"))

    def test_find_package_finds_the_c_library(self):
        self.command()
        self.says_how_it_is_used(self.project(program=EXAMPLE, library="heed::c"))

    def test_every_installed_header_stands_alone_and_names_no_room_inside(self):
        headers = sorted((self.prefix / "include" / "heed").glob("*.h"))
        self.assertGreater(len(headers), 5)
        headers += (self.prefix / "include").glob("heed.h")
        unit = pathlib.Path(self.keep.name) / "unit.cpp"
        for header in headers:
            unit.write_text(f"#include <{header.relative_to(self.prefix / 'include')}>\n")
            output(COMPILER, "-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Werror",
                   f"-I{self.prefix}/include", unit)

    def command(self):
        binary = self.prefix / "bin" / "heed"
        if not binary.exists():
            self.skipTest("this build has libheed only")
        return binary

    def test_the_command_runs_from_the_prefix_with_an_empty_environment(self):
        binary = self.command()
        version = output(binary, "--version", env={})
        self.assertRegex(version, r"^heed \d+\.\d+\.\d+\n$")
        # What the tree says of its own version is the same everywhere.
        for name in ("heed.pc", "heedConfigVersion.cmake"):
            text = next(self.prefix.rglob(name)).read_text()
            self.assertIn(version.split()[1], text, name)
        facts = json.loads(output(binary, "doctor", "--rounds", "1", "-o", "json", env={}))
        self.assertIn("isa", json.dumps(facts))

    def test_the_command_answers_where_its_libraries_are_and_nothing_else(self):
        binary, folder = self.command(), pathlib.Path(self.keep.name)
        write_model(folder / "tiny.gguf")
        root = BareRoot(self, folder / "root")
        root.put_with_libraries("/heed", binary)
        root.put("/tiny.gguf", folder / "tiny.gguf")
        check_answers(self, lambda *words: root.command("/heed", *words), "/tiny.gguf")

    def says_how_it_is_used(self, program):
        done = subprocess.run([program], env={"LD_LIBRARY_PATH": str(self.lib)}, text=True,
                              stderr=subprocess.PIPE)
        self.assertEqual((done.returncode, done.stderr[:6]), (2, "usage:"), done.stderr)

    def example(self, *flags):
        """examples/generate.c as a user compiles it; without arguments it says how it is used."""
        self.command()
        program = pathlib.Path(self.keep.name) / self.id()
        output(C_COMPILER, "-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", EXAMPLE, "-o",
               program, *flags)
        self.says_how_it_is_used(program)

    def test_a_c99_compiler_alone_builds_the_example_on_the_c_library(self):
        self.example(f"-I{self.prefix}/include", f"-L{self.lib}", "-lheed-c")

    def test_pkg_config_finds_the_c_library(self):
        if not shutil.which("pkg-config"):
            self.skipTest("pkg-config is not installed")
        os.environ["PKG_CONFIG_PATH"] = str(self.lib / "pkgconfig")
        self.example(*output("pkg-config", "--cflags", "--libs", "heed-c").split())

    def test_the_c_library_exports_what_its_header_declares_and_nothing_else(self):
        self.command()
        header = (self.prefix / "include" / "heed.h").read_text()
        declared = set(re.findall(r"^(?!typedef)\w[^(/]*\b(heed_\w+)\(", header, re.MULTILINE))
        self.assertIn("heed_decode", declared)
        names = output("nm", "-D", "--defined-only", "--format=posix", self.lib / "libheed-c.so")
        self.assertEqual({line.split()[0] for line in names.splitlines()}, declared)

    def test_man_page_completions_and_licences_lie_where_their_readers_look(self):
        binary, share = self.command(), self.prefix / "share"
        for path, words in (("man/man1/heed.1", ["man"]),
                            ("bash-completion/completions/heed", ["completion", "bash"]),
                            ("zsh/site-functions/_heed", ["completion", "zsh"]),
                            ("fish/vendor_completions.d/heed.fish", ["completion", "fish"])):
            self.assertEqual((share / path).read_text(), output(binary, *words, env={}), path)
        licences = {path.name: path.read_text() for path in (share / "licenses" / "heed").iterdir()}
        self.assertEqual(set(licences),
                         {"LICENSE", "LICENSE.llama.cpp", "CLI11", "fmt", "nlohmann-json"})
        for name, text in licences.items():
            self.assertIn("Copyright", text, name)


class Staged(unittest.TestCase):
    """DESTDIR, as packagers use it: everything below it, nothing at the prefix itself."""

    def test_destdir_takes_all_and_uninstall_removes_what_install_put_and_no_more(self):
        with tempfile.TemporaryDirectory() as folder:
            stage, prefix = pathlib.Path(folder) / "stage", pathlib.Path(folder) / "prefix"
            env = dict(os.environ, DESTDIR=str(stage))
            output("cmake", "--install", BUILD, "--prefix", prefix, env=env)
            self.assertFalse(prefix.exists())
            top = pathlib.Path(f"{stage}{prefix}")
            self.assertTrue(list(top.rglob("libheed.a")))
            for text in top.rglob("*.pc"):
                self.assertNotIn(str(stage), text.read_text())
            own = top / "include" / "heed" / "not_of_heed.h"
            own.write_text("")
            said = output(ROOT / "scripts" / "uninstall", prefix, BUILD, env=env)
            self.assertIn(str(top), said)
            self.assertEqual([path for path in top.rglob("*") if not path.is_dir()], [own])


if __name__ == "__main__":
    unittest.main()
