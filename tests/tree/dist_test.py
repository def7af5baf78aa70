#!/usr/bin/env python3
"""scripts/dist with a shell script in the place of the command: what an archive and a wheel hold,
that pip installs it, and that the same tree gives the same bytes."""
import base64
import csv
import hashlib
import importlib.util
import io
import os
import pathlib
import subprocess
import sys
import tarfile
import unittest
import venv
import zipfile
from unittest import mock

sys.dont_write_bytecode = True

from script_case import ROOT, FolderCase, load_script

sys.path.insert(0, str(ROOT / "scripts"))

import elf_file

VERSION = "1.2.3"
FILES = {"bin/heed": "#!/bin/sh\necho heed ran: \"$@\"\n", "share/man/man1/heed.1": ".TH HEED 1\n",
         "share/licenses/heed/LICENSE": "Copyright\n", "share/licenses/heed/other": "Copyright\n"}


def pip_install(wheel, prefix):
    """Installs into a new virtual environment with this Python's pip; returns its bin/."""
    import pip
    venv.create(prefix, with_pip=False, symlinks=True)
    done = subprocess.run([prefix / "bin" / "python", "-m", "pip", "install", "--no-index",
                           "--disable-pip-version-check", wheel], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env={**os.environ, "PYTHONPATH": str(pathlib.Path(pip.__file__).parents[1])})
    if done.returncode:
        raise AssertionError(done.stdout)
    return prefix / "bin"


class Packing(FolderCase):
    def setUp(self):
        super().setUp()
        self.dist = load_script("dist")
        self.tree = self.folder / "tree"
        for name, text in FILES.items():
            (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
            (self.tree / name).write_text(text)
        (self.tree / "bin" / "heed").chmod(0o755)
        clock = mock.patch.dict(os.environ)
        clock.start()
        self.addCleanup(clock.stop)
        os.environ.pop("SOURCE_DATE_EPOCH", None)

    def both(self, name="out"):
        out = self.folder / name
        out.mkdir()
        return (self.dist.write_archive(self.tree, "heed-1.2.3-linux-x86_64", out),
                self.dist.write_wheel(self.tree, VERSION, out))

    def test_the_same_tree_gives_the_same_bytes_at_any_time_and_order(self):
        first = [path.read_bytes() for path in self.both("first")]
        for path in sorted(self.tree.rglob("*"), reverse=True):
            os.utime(path, (10**9, 10**9))
        self.assertEqual([path.read_bytes() for path in self.both("second")], first)
        os.environ["SOURCE_DATE_EPOCH"] = "1700000000"
        for old, new in zip(first, self.both("third"), strict=True):
            self.assertNotEqual(new.read_bytes(), old)

    def test_the_archive_is_one_folder_of_roots_files(self):
        archive, _ = self.both()
        with tarfile.open(archive) as tar:
            found = {entry.name: (tar.extractfile(entry).read().decode(), entry.mode,
                                  entry.uid, entry.gid) for entry in tar}
        self.assertEqual(found, {f"heed-1.2.3-linux-x86_64/{name}":
                                 (text, 0o755 if name == "bin/heed" else 0o644, 0, 0)
                                 for name, text in FILES.items()})

    def test_the_wheel_says_of_each_file_its_hash_and_its_size(self):
        _, wheel = self.both()
        self.assertRegex(wheel.name, r"\Aheed-1\.2\.3-py3-none-[a-z0-9_.]+\.whl\Z")
        with zipfile.ZipFile(wheel) as file:
            self.assertIsNone(file.testzip())
            content = {name: file.read(name) for name in file.namelist()}
        record = content.pop("heed-1.2.3.dist-info/RECORD").decode()
        rows = {name: (digest, size) for name, digest, size in csv.reader(io.StringIO(record))}
        self.assertEqual(rows.pop("heed-1.2.3.dist-info/RECORD"), ("", ""))
        self.assertEqual(set(rows), set(content))
        for name, data in content.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
            self.assertEqual(rows[name], (f"sha256={digest}", str(len(data))), name)

    def test_the_wheels_words_agree_with_its_name_and_its_files(self):
        _, wheel = self.both()
        with zipfile.ZipFile(wheel) as file:
            info = file.read("heed-1.2.3.dist-info/METADATA").decode()
            tags = file.read("heed-1.2.3.dist-info/WHEEL").decode()
            names = file.namelist()
        self.assertIn("\nVersion: 1.2.3\n", info)
        for licence in ("LICENSE", "other"):
            self.assertIn(f"\nLicense-File: {licence}\n", info)
            self.assertIn(f"heed-1.2.3.dist-info/licenses/{licence}", names)
        platforms = wheel.stem.split("-")[-1].split(".")
        self.assertEqual([line.split()[1] for line in tags.splitlines() if line.startswith("Tag")],
                         [f"py3-none-{platform}" for platform in platforms])

    def test_pip_puts_the_command_and_its_page_into_an_environment_and_takes_them_away(self):
        if importlib.util.find_spec("pip") is None:
            self.skipTest("this Python has no pip (python3-pip)")
        _, wheel = self.both()
        binaries = pip_install(wheel, self.folder / "environment")
        said = subprocess.run(["heed", "a", "b"], env={"PATH": str(binaries)}, text=True,
                              stdout=subprocess.PIPE, check=True).stdout
        self.assertEqual(said, "heed ran: a b\n")
        self.assertTrue((binaries.parent / "share/man/man1/heed.1").exists())

    def test_a_build_that_needs_libraries_of_the_machine_is_refused_with_their_names(self):
        build = pathlib.Path(os.environ["HEED_BINARY_DIR"])
        if not (build / "heed").exists():
            self.skipTest("this build has libheed only")
        with self.assertRaisesRegex(self.dist.Failed, "libc.so.6.*make dist"):
            self.dist.stage(build, self.folder / "stage")


class Elf(FolderCase):
    def compiled(self, *flags):
        source, program = self.folder / "a.c", self.folder / "a"
        source.write_text("#include <math.h>\nint main(int n, char** v) {"
                          " (void)v; return (int)cos(n); }\n")
        subprocess.run([*os.environ["HEED_CC"].split(), source, "-o", program, *flags], check=True)
        return elf_file.needed_from_outside(program)

    def links_statically(self):
        source = self.folder / "empty.c"
        source.write_text("int main(void) { return 0; }\n")
        return subprocess.run([*os.environ["HEED_CC"].split(), source, "-o", self.folder / "empty",
                               "-static", "-lm"], stderr=subprocess.DEVNULL).returncode == 0

    def test_loader_and_libraries_of_a_program_are_found_and_a_static_one_has_none(self):
        needed = self.compiled("-Wl,--no-as-needed", "-lm")
        self.assertIn("libc.so.6", needed)
        self.assertIn("libm.so.6", needed)
        self.assertTrue(needed[0].startswith("/"), needed)  # the loader
        if not self.links_statically():
            self.skipTest("there is no static C library (libc6-dev, glibc-static)")
        for flags in (["-static"], ["-static-pie"]):
            self.assertEqual(self.compiled(*flags, "-lm"), [], flags)

    def test_what_is_no_program_is_refused(self):
        (self.folder / "text").write_text("words, not a program: " + "x" * 100)
        with self.assertRaisesRegex(ValueError, "ELF"):
            elf_file.needed_from_outside(self.folder / "text")


if __name__ == "__main__":
    unittest.main()
