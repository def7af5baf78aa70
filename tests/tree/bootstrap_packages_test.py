#!/usr/bin/env python3
"""How scripts/bootstrap installs Debian packages: as root, through sudo, or by saying what to run.

dpkg-query, dpkg, apt-get and sudo are small scripts on a PATH that holds nothing else but env.
They write down what they were called with.
"""
import io
import os
import sys
import unittest
from unittest import mock

sys.dont_write_bytecode = True

from script_case import FolderCase, load_script

# Says "installed" of the packages that are named in the file `installed`, as dpkg-query does.
DPKG_QUERY = """
shift 3
for name in "$@"; do
  while read -r have; do
    [ "$have" = "$name" ] && echo "$name installed"
  done < "$FAKES/installed"
done
exit 1
"""
CALLED = 'echo "{name} $* [$DEBIAN_FRONTEND]" >> "$FAKES/calls"\n'
SUDO = """echo "sudo $*" >> "$FAKES/calls"
[ "$1" = -n ] || exit 9
shift
[ "$1" = true ] || exec "$@"
"""


class Packages(FolderCase):
    def setUp(self):
        super().setUp()
        (self.folder / "calls").touch()
        (self.folder / "env").symlink_to("/usr/bin/env")
        self.fake("dpkg-query", DPKG_QUERY)
        for name in ("dpkg", "apt-get"):
            self.fake(name, CALLED.format(name=name))
        self.script = load_script("bootstrap")
        self.script.HOME = self.folder / "home"
        self.script.LOGS = self.script.HOME / "logs"
        self.installed(self.script.DEBIAN)
        self.out = io.StringIO()
        for patch in (mock.patch("sys.stdout", self.out), mock.patch("sys.argv", ["bootstrap"]),
                      mock.patch.dict(os.environ, dict.fromkeys(("PATH", "FAKES"),
                                                                str(self.folder))),
                      mock.patch.object(self.script, "has_pip", lambda: False),
                      mock.patch.object(self.script, "obey_signals"),
                      mock.patch.object(self.script, "build_deps", self.build_deps)):
            patch.start()
            self.addCleanup(patch.stop)
        self.built = False

    def build_deps(self, isa, jobs):
        self.built = True
        return "prefix"

    def fake(self, name, text):
        path = self.folder / name
        path.write_text("#!/bin/sh\n" + text)
        path.chmod(0o755)

    def installed(self, names):
        (self.folder / "installed").write_text("".join(name + "\n" for name in names))

    def without(self, *names):
        self.installed([name for name in self.script.DEBIAN if name not in names])

    def run_as(self, user):
        """Exit code and calls of a whole run."""
        with mock.patch.object(self.script.os, "geteuid", return_value=user):
            code = self.script.main()
        return code, (self.folder / "calls").read_text().splitlines()

    EXPECTED = ["dpkg --configure -a [noninteractive]", "apt-get update [noninteractive]",
                "apt-get install -y --no-install-recommends ninja-build zlib1g-dev "
                "[noninteractive]"]

    def test_root_installs_what_is_missing_and_nothing_else(self):
        self.without("ninja-build", "zlib1g-dev")
        self.fake("sudo", SUDO)
        self.assertEqual(self.run_as(0), (0, self.EXPECTED))
        self.assertTrue(self.built)

    def test_another_user_does_the_same_through_sudo(self):
        self.without("ninja-build", "zlib1g-dev")
        self.fake("sudo", SUDO)
        code, calls = self.run_as(1000)
        self.assertEqual(code, 0)
        self.assertEqual([call for call in calls if not call.startswith("sudo")], self.EXPECTED)
        asked = [call for call in calls if call.startswith("sudo")]
        self.assertEqual(asked[0], "sudo -n true")
        self.assertEqual(len(asked), 1 + len(self.EXPECTED))
        for call in asked:  # a password is never asked for
            self.assertTrue(call.startswith("sudo -n "), call)

    def expect_the_line_to_run(self):
        code, calls = self.run_as(1000)
        self.assertEqual(code, 1)
        self.assertEqual([call for call in calls if not call.startswith("sudo")], [])
        self.assertFalse(self.built)
        self.assertIn("\n    sudo apt-get update && sudo apt-get install -y "
                      "--no-install-recommends ninja-build zlib1g-dev\n", self.out.getvalue())

    def test_without_sudo_the_line_to_run_is_printed_and_nothing_is_run(self):
        self.without("ninja-build", "zlib1g-dev")
        self.expect_the_line_to_run()

    def test_sudo_that_asks_for_a_password_counts_as_none(self):
        self.without("ninja-build", "zlib1g-dev")
        self.fake("sudo", 'echo "sudo $*" >> "$FAKES/calls"\nexit 1\n')
        self.expect_the_line_to_run()

    def test_nothing_is_run_when_everything_is_there(self):
        for user in (0, 1000):
            self.assertEqual(self.run_as(user), (0, []))

    def test_pip_of_another_source_is_as_good_as_debians(self):
        self.without("python3-pip")
        with mock.patch.object(self.script, "has_pip", lambda: True):
            self.assertEqual(self.run_as(0), (0, []))
        self.assertEqual(len(self.run_as(0)[1]), 3)

    def test_a_failing_apt_is_told_with_its_last_lines_and_its_log(self):
        self.without("mold")
        self.fake("apt-get", "echo no such mirror >&2\nexit 100\n")
        self.assertEqual(self.run_as(0)[0], 1)
        for words in ("exit code 100", "no such mirror", str(self.script.LOGS / "apt-update.log")):
            self.assertIn(words, self.out.getvalue())
        self.assertFalse(self.built)

    def test_a_system_without_dpkg_is_told_what_is_taken_as_given(self):
        (self.folder / "dpkg-query").unlink()
        self.assertEqual(self.run_as(0), (0, []))
        self.assertTrue(self.built)
        self.assertIn("libcli11-dev", self.out.getvalue())


if __name__ == "__main__":
    unittest.main()
