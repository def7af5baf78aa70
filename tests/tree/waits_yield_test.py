#!/usr/bin/env python3
"""cmake/deps/waits_yield.cmake on texts like ggml's: it changes both waits or stops.

Whether ggml's waits really give the core away is tested where it runs (tests/session).
"""
import pathlib
import subprocess
import tempfile
import unittest

RECIPE = pathlib.Path(__file__).resolve().parents[2] / "cmake" / "deps" / "waits_yield.cmake"
BARRIER = """    while (atomic_load_explicit(&tp->n_barrier_passed, memory_order_relaxed) == n_passed) {
        ggml_thread_cpu_relax();
    }
"""
POLL = """        // No new work. Keep polling.
        ggml_thread_cpu_relax();
"""
REST = 'int a[] = {1, 2}; /* [[ ]] ; "${x}" \\; \\n */\n'


class WaitsYield(unittest.TestCase):
    def change(self, text):
        """The changed text, or None and the message."""
        with tempfile.TemporaryDirectory() as folder:
            source, copy = pathlib.Path(folder) / "in.c", pathlib.Path(folder) / "out.c"
            program = pathlib.Path(folder) / "program.cmake"
            source.write_text(text)
            program.write_text(f'include("{RECIPE}")\nheed_yielding_copy("{source}" "{copy}")\n')
            done = subprocess.run(["cmake", "-P", program], text=True, capture_output=True)
            self.assertEqual(done.returncode == 0, copy.exists())
            return (copy.read_text() if copy.exists() else None), done.stderr

    def test_both_waits_yield_and_the_rest_stays_as_it_is(self):
        changed, message = self.change(REST + BARRIER + REST + POLL + REST)
        self.assertIsNotNone(changed, message)
        self.assertEqual(changed.count("sched_yield()"), 2)
        self.assertEqual(changed.count("ggml_thread_cpu_relax()"), 2)
        self.assertEqual(changed.count(REST), 3)
        self.assertTrue(changed.startswith(REST) and changed.endswith(REST))

    def test_a_wait_that_is_absent_or_there_twice_stops_the_build_with_the_file(self):
        for text in (REST + POLL, REST + BARRIER, BARRIER + POLL + BARRIER, BARRIER + POLL + POLL,
                     BARRIER.replace("relaxed", "acquire") + POLL):
            changed, message = self.change(text)
            self.assertIsNone(changed)
            self.assertIn("in.c", message)
            self.assertIn("not there exactly once", " ".join(message.split()))


if __name__ == "__main__":
    unittest.main()
