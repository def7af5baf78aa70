#!/usr/bin/env python3
"""docs/architectures.md names every architecture of the source, and scripts/architectures reads the
tests' report."""
import unittest

import script_case

architectures = script_case.load_script("architectures")

def case(name, arch, halves, delta, own):
    values = {"architecture": arch, "halves": halves, "largest_delta": delta, "llama_delta": own}
    properties = "".join(f'<property name="{k}" value="{v}"/>' for k, v in values.items())
    return f'<testcase name="{name}"><properties>{properties}</properties></testcase>'


REPORT = ("<testsuites><testsuite>" + case("prompt/llama_tied", "llama", 0, 2.5, 1) +
          case("far/llama_tied", "llama", 0, 40, 1) + case("far/llama_f16", "llama", 1, 300, 500) +
          '<testcase name="other"/></testsuite></testsuites>')


class Architectures(script_case.FolderCase):
    def test_the_page_names_those_of_the_source(self):
        described = architectures.described()
        self.assertIn("llama", described)
        self.assertEqual(described, architectures.named(architectures.PAGE.read_text()))
        self.assertEqual(set(described), set(architectures.KNOWN_AS))

    def test_the_largest_of_all_tests_of_an_architecture_is_taken(self):
        report = self.folder / "report.xml"
        report.write_text(REPORT)
        rows = architectures.measured(report)
        self.assertEqual(list(rows), ["llama"])
        self.assertEqual(rows["llama"].models, {"llama_tied", "llama_f16"})
        self.assertAlmostEqual(rows["llama"].exact, 40e-6)
        self.assertAlmostEqual(rows["llama"].halves, 300e-6)
        self.assertAlmostEqual(rows["llama"].own, 500e-6)

    def test_a_report_with_a_failure_writes_nothing(self):
        report = self.folder / "report.xml"
        report.write_text(REPORT.replace('name="other"/>', 'name="other"><failure/></testcase>'))
        with self.assertRaises(SystemExit):
            architectures.measured(report)


if __name__ == "__main__":
    unittest.main()
