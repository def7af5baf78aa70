#!/usr/bin/env python3
"""What `make dist` packs, installed where no compiler and no library is, and run by processors that
are not this one."""
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from bare_root import BareRoot, check_answers, output, write_model
from dist_test import pip_install
from script_case import ROOT

sys.path.insert(0, str(ROOT / "scripts"))

import elf_file

LEVELS = {"avx512f": "avx512", "avx2": "avx2"}  # of the best feature: how names of sets begin


class Distribution(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        keep = tempfile.TemporaryDirectory()
        cls.addClassCleanup(keep.cleanup)
        cls.folder = pathlib.Path(keep.name)
        plain = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}
        for command in (["scripts/bootstrap", "--isa", "portable"],
                        ["scripts/build", "dist", "heed", "heed_documents"],
                        ["scripts/dist", "build/dist", cls.folder / "dist"]):
            subprocess.run(command, cwd=ROOT, check=True, env=plain)
        cls.archive, = (cls.folder / "dist").glob("heed-*-linux-x86_64.tar.gz")
        cls.wheel, = (cls.folder / "dist").glob("heed-*.whl")
        cls.tree = cls.folder / "unpacked"
        with tarfile.open(cls.archive) as tar:
            tar.extractall(cls.tree)
        cls.tree, = cls.tree.iterdir()
        cls.binary = cls.tree / "bin" / "heed"
        cls.model = cls.folder / "tiny.gguf"
        write_model(cls.model)

    def test_the_archives_command_answers_in_an_empty_folder_as_the_root(self):
        root = BareRoot(self, self.folder / "root")
        root.put("/bin/heed", self.binary)
        root.put("/tiny.gguf", self.model)
        facts = check_answers(self, lambda *words: root.command("/bin/heed", *words), "/tiny.gguf")
        self.uses_what_is_here(facts)

    def test_pip_gives_the_command_and_it_answers_without_anything_else_on_the_path(self):
        binaries = pip_install(self.wheel, self.folder / "environment")
        facts = check_answers(self, lambda *words: ["heed", *words], self.model,
                              {"PATH": str(binaries)})
        self.uses_what_is_here(facts)
        self.assertEqual((binaries / "heed").read_bytes(), self.binary.read_bytes())

    def uses_what_is_here(self, facts):
        """heed and ggml both use the best that this processor offers."""
        best = next((level for feature, level in LEVELS.items() if feature in facts["features"]),
                    "scalar")
        machine = facts["machine"]
        self.assertTrue(machine["isa"].startswith(best), facts)
        self.assertEqual(machine["ggml"], machine["isa"])

    def emulated(self, processor, isa):
        emulator = shutil.which("qemu-x86_64")
        if not emulator:
            self.skipTest("qemu-x86_64 is missing: apt-get install qemu-user")
        facts = check_answers(
            self, lambda *words: [emulator, "-cpu", processor, self.binary, *words], self.model)
        machine = facts["machine"]
        self.assertEqual((machine["isa"], machine["ggml"]), (isa, isa))

    def test_a_processor_with_avx2_and_no_avx512_runs_it(self):
        self.emulated("Haswell", "avx2")

    def test_a_processor_without_avx_runs_it(self):
        self.emulated("Nehalem", "scalar")

    def test_the_command_needs_no_loader_and_no_library(self):
        self.assertEqual(elf_file.needed_from_outside(self.binary), [])
        listing = output(["objdump", "-p", self.binary], os.environ)  # the same by other eyes
        self.assertNotIn("NEEDED", listing)
        self.assertNotIn("INTERP", listing)

    def test_archive_and_wheel_carry_page_completions_and_every_licence(self):
        share = self.tree / "share"
        for name, words in (("man/man1/heed.1", ["man"]),
                            ("bash-completion/completions/heed", ["completion", "bash"]),
                            ("zsh/site-functions/_heed", ["completion", "zsh"]),
                            ("fish/vendor_completions.d/heed.fish", ["completion", "fish"])):
            self.assertEqual((share / name).read_text(), output([self.binary, *words]), name)
        licences = {path.name for path in (share / "licenses" / "heed").iterdir()}
        self.assertLessEqual({"LICENSE", "LICENSE.llama.cpp", "CLI11", "fmt", "nlohmann-json",
                              "LGPL-2.1", "libc6-dev", "zlib1g-dev"}, licences)
        self.assertTrue(any(re.match(r"libstdc\+\+-\d+-dev", name) for name in licences), licences)
        version = output([self.binary, "--version"]).split()[1]
        self.assertIn(f"heed-{version}-", self.archive.name)
        self.assertIn(f"heed-{version}-", self.wheel.name)

    def test_the_sums_are_of_the_files_and_packing_again_gives_them_again(self):
        sums = (self.folder / "dist" / "SHA256SUMS").read_text()
        expected = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
                           for path in sorted([self.archive, self.wheel]))
        self.assertEqual(sums, expected)
        again = self.folder / "again"
        subprocess.run(["scripts/dist", "build/dist", again], cwd=ROOT, check=True)
        self.assertEqual((again / "SHA256SUMS").read_text(), sums)


if __name__ == "__main__":
    unittest.main()
