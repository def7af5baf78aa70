#!/usr/bin/env python3
"""scripts/bootstrap against a package index that it must not trust, and against Ctrl-C.

The index is a folder with one small source package whose build backend writes a file when it runs,
so the tests see whether code of a package was executed. Nothing here needs a network.
"""
import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import unittest
from unittest import mock

sys.dont_write_bytecode = True

from script_case import ROOT, FolderCase, load_script
NAME, VERSION = "heed-test-sources", "1.2"
SDIST = f"heed_test_sources-{VERSION}.tar.gz"
BACKEND = """
import os
def touch(*a, **k):
    open(os.environ["HEED_TEST_MARKER"], "w").close()
    raise SystemExit(1)
get_requires_for_build_wheel = prepare_metadata_for_build_wheel = build_wheel = touch
"""
PYPROJECT = """
[build-system]
requires = []
build-backend = "scikit_build_core.build"
backend-path = ["."]
[project]
name = "heed-test-sources"
version = "1.2"
"""


def write_sdist(path, own_backend_path):
    folder = SDIST[: -len(".tar.gz")]
    pyproject = PYPROJECT if own_backend_path else PYPROJECT.replace('backend-path = ["."]\n', "")
    files = {"PKG-INFO": f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\n",
             "pyproject.toml": pyproject, "scikit_build_core/__init__.py": "",
             "scikit_build_core/build.py": BACKEND, "vendor/llama.cpp/LICENSE": "text\n"}
    with tarfile.open(path, "w:gz") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))


class Bootstrap(FolderCase):
    def setUp(self):
        super().setUp()
        self.index = self.folder / "index"
        self.index.mkdir()
        self.marker = self.folder / "package_code_ran"
        self.script = load_script("bootstrap")
        home = self.folder / "home"
        for name, value in {"PACKAGE": NAME, "VERSION": VERSION, "SDIST": SDIST, "HOME": home,
                            "SOURCE_PREFIX": SDIST[:-7] + "/vendor/llama.cpp/",
                            "LOGS": home / "logs"}.items():
            setattr(self.script, name, value)
        quiet = mock.patch("sys.stdout", io.StringIO())
        quiet.start()
        self.addCleanup(quiet.stop)
        offline = mock.patch.dict(os.environ, {
            "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.index), "PIP_CONFIG_FILE": os.devnull,
            "HEED_TEST_MARKER": str(self.marker)})
        offline.start()
        self.addCleanup(offline.stop)

    def offer(self, own_backend_path=False, expected=None):
        write_sdist(self.index / SDIST, own_backend_path)
        actual = hashlib.sha256((self.index / SDIST).read_bytes()).hexdigest()
        self.script.SHA256 = expected or actual

    def downloads(self):
        return sorted(p.name for p in (self.folder / "home" / "downloads").iterdir())

    def test_a_pinned_package_arrives_without_running_its_code(self):
        self.offer()
        path = self.script.fetch_source()
        self.assertEqual(self.script.digest(path), self.script.SHA256)
        self.assertEqual(self.downloads(), [SDIST])
        self.assertFalse(self.marker.exists())

    def test_another_hash_is_refused_before_the_package_is_opened(self):
        # With a backend-path of its own a package would run its own code at once, were it opened.
        self.offer(own_backend_path=True, expected="0" * 64)
        with self.assertRaises(self.script.Failed) as caught:
            self.script.fetch_source()
        self.assertIn("pip.log", str(caught.exception))
        log = (self.folder / "home" / "logs" / "pip.log").read_text()
        self.assertIn("DO NOT MATCH", log)
        self.assertEqual(self.downloads(), [])
        self.assertFalse(self.marker.exists())

    def test_the_marker_shows_when_package_code_runs(self):
        # Else the two tests above prove nothing: here the backend is found inside the package.
        self.offer(own_backend_path=True)
        with self.assertRaises(self.script.Failed):
            self.script.fetch_source()
        self.assertTrue(self.marker.exists())

    def test_a_damaged_download_is_fetched_again_and_a_good_one_is_kept(self):
        self.offer()
        path = self.script.fetch_source()
        path.write_bytes(b"half a file")
        self.assertEqual(self.script.digest(self.script.fetch_source()), self.script.SHA256)
        (self.index / SDIST).unlink()
        self.assertEqual(self.script.fetch_source(), path)

    def test_an_interrupted_unpacking_leaves_nothing_and_is_repeated(self):
        self.offer()
        archive = self.script.fetch_source()
        with mock.patch.object(self.script.shutil, "copyfileobj", side_effect=KeyboardInterrupt):
            with self.assertRaises(KeyboardInterrupt):
                self.script.unpack_source(archive)
        deps = self.folder / "home" / "deps"
        self.assertEqual(list(deps.iterdir()), [])
        source = self.script.unpack_source(archive)
        self.assertEqual((source / "LICENSE").read_text(), "text\n")
        self.assertEqual([p.name for p in deps.iterdir()], [source.name])

    def test_an_entry_outside_the_folder_is_refused(self):
        archive = self.folder / "evil.tar.gz"
        with tarfile.open(archive, "w:gz") as tar:
            entry = tarfile.TarInfo(self.script.SOURCE_PREFIX + "../../outside")
            tar.addfile(entry, io.BytesIO(b""))
        self.script.SHA256 = "1" * 64
        with self.assertRaisesRegex(self.script.Failed, "outside its folder"):
            self.script.unpack_source(archive)
        self.assertEqual(list((self.folder / "home" / "deps").iterdir()), [])

    def test_a_failing_step_names_its_log_and_its_last_lines(self):
        command = [sys.executable, "-c", "print('the reason'); raise SystemExit(3)"]
        with self.assertRaises(self.script.Failed) as caught:
            self.script.run_logged("example", command)
        for part in ("exit code 3", "the reason", str(self.script.LOGS / "example.log")):
            self.assertIn(part, str(caught.exception))


class Keys(FolderCase):
    def test_each_instruction_set_has_a_prefix_of_its_own(self):
        script = load_script("bootstrap")
        self.assertEqual(set(script.ISA_FLAGS), {"native", "avx2"})
        self.assertNotEqual(script.deps_key("native"), script.deps_key("avx2"))
        self.assertIn("-DGGML_NATIVE=OFF", script.deps_flags("avx2"))
        self.assertIn("-DGGML_AVX512=OFF", script.deps_flags("avx2"))
        self.assertNotIn("-DGGML_NATIVE=OFF", script.deps_flags("native"))

    def test_the_portable_prefix_follows_the_native_one_and_the_list_of_variants(self):
        script = load_script("bootstrap")
        real = script.ROOT
        script.ROOT = self.folder
        for part in ("cmake/deps", "scripts"):
            shutil.copytree(real / part, self.folder / part)
        keys, native = {script.deps_key("portable")}, script.deps_key("native")
        with open(self.folder / "scripts" / "ggml_variants.py", "a") as out:
            out.write("# changed\n")
        keys.add(script.deps_key("portable"))
        self.assertEqual(script.deps_key("native"), native)
        with open(self.folder / "cmake" / "deps" / "CMakeLists.txt", "a") as out:
            out.write("# changed\n")
        keys |= {script.deps_key("portable"), native}
        self.assertEqual(len(keys), 4)

    def test_every_file_of_the_recipe_is_in_the_key_and_llama_bench_stays_itself(self):
        script = load_script("bootstrap")
        script.ROOT = self.folder
        recipe = script.ROOT / "cmake" / "deps"
        shutil.copytree(ROOT / "cmake" / "deps", recipe)
        names = sorted(path.name for path in recipe.iterdir())
        self.assertEqual(names, ["CMakeLists.txt", "waits_yield.cmake"])
        keys, bench = {script.deps_key("native")}, script.llama_bench_path()
        for name in names:
            with open(recipe / name, "a") as out:
                out.write("# changed\n")
            keys.add(script.deps_key("native"))
            self.assertEqual(script.llama_bench_path(), bench)
        self.assertEqual(len(keys), 1 + len(names))


class Interruption(FolderCase):
    def test_an_interrupted_step_takes_its_grandchildren_with_it(self):
        pid_file = self.folder / "pid"
        # As cmake does with ninja: a child that dies at once and leaves a grandchild at work.
        child = (f"import subprocess, time; p = subprocess.Popen(['sleep', '60']); "
                 f"open({str(pid_file)!r}, 'w').write(str(p.pid)); time.sleep(60)")
        program = ("import sys\n"
                   f"sys.path.insert(0, {str(ROOT / 'tests' / 'tree')!r})\n"
                   "sys.dont_write_bytecode = True\n"
                   "from script_case import load_script\n"
                   "b = load_script('bootstrap')\n"
                   "b.obey_signals()\n"
                   f"b.run_logged('step', [sys.executable, '-c', {child!r}])\n")
        process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL,
                                   env={**os.environ, "HEED_HOME": str(self.folder)})
        limit = time.monotonic() + 20
        while not (pid_file.exists() and pid_file.read_text()) and time.monotonic() < limit:
            time.sleep(0.02)
        grandchild = int(pid_file.read_text())
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)
        self.assertFalse(alive(grandchild))


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


if __name__ == "__main__":
    unittest.main()
