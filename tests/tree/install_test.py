#!/usr/bin/env python3
"""The installed tree is enough for a program outside: headers and libheed with a compiler alone, and
the same through pkg-config's file and CMake's find_package."""
import math
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

BUILD = os.environ["HEED_BINARY_DIR"]
COMPILER = os.environ["HEED_CXX"]
PROGRAM = pathlib.Path(__file__).resolve().parent / "external_program.cpp"
PROJECT = """cmake_minimum_required(VERSION 3.22)
project(outside CXX)
find_package(heed 0.1 REQUIRED)
add_executable(program "{program}")
target_link_libraries(program PRIVATE heed::heed)
"""


def output(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
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

    def test_find_package_finds_the_moved_prefix(self):
        source = pathlib.Path(self.keep.name) / "outside"
        source.mkdir()
        (source / "CMakeLists.txt").write_text(PROJECT.format(program=PROGRAM))
        output("cmake", "-S", source, "-B", source / "build", f"-DCMAKE_PREFIX_PATH={self.prefix}",
               f"-DCMAKE_CXX_COMPILER={COMPILER}")
        output("cmake", "--build", source / "build")
        self.check(source / "build" / "program")

    def test_every_installed_header_stands_alone_and_names_no_room_inside(self):
        headers = sorted((self.prefix / "include" / "heed").glob("*.h"))
        self.assertGreater(len(headers), 5)
        unit = pathlib.Path(self.keep.name) / "unit.cpp"
        for header in headers:
            unit.write_text(f"#include <heed/{header.name}>\n")
            output(COMPILER, "-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Werror",
                   f"-I{self.prefix}/include", unit)

    def test_the_command_runs_from_the_prefix(self):
        binary = self.prefix / "bin" / "heed"
        if not binary.exists():
            self.skipTest("this build has libheed only")
        self.assertIn("heed", output(binary, "--version"))


if __name__ == "__main__":
    unittest.main()
