"""What stages send can be recorded, and read by h5py."""

import json
import subprocess
import sys
import unittest

import harness

# Prints a trace as JSON; by whichever Python has h5py.
READ = """
import json, sys, h5py
with h5py.File(sys.argv[1]) as trace:
    print(json.dumps({
        name: {kind: {"data": series["data"][:].tolist(),
                      "records": [{"step": int(row["step"]),
                                   "micro_batch": int(row["micro_batch"]),
                                   "rms": float(row["rms"])}
                                  for row in series["records"]]}
               for kind, series in value.items()}
        for name, value in trace.items()}))
"""


def find_python():
    for python in (sys.executable, "/usr/bin/python3"):
        try:
            if subprocess.run([python, "-c", "import h5py"],
                              capture_output=True).returncode == 0:
                return python
        except OSError:
            pass
    return None


PYTHON = find_python()


def read_trace(path):
    return json.loads(subprocess.run(
        [PYTHON, "-c", READ, str(path)], check=True, capture_output=True,
        text=True).stdout)


class TraceTest(harness.ProgramTest):
    def trace(self, output, *words, **expected):
        return self.train(
            output, "--set", 'trace.values=["all"]', "--set", "trace.every=5",
            "--set", "trace.micro_batches=2", *words, **expected)

    def test_each_stage_leaves_a_file_and_no_number_changes(self):
        self.train("plain", ranks=3)
        self.trace("traced", ranks=3)

        self.assert_same_run("plain", "traced", 12)
        names = sorted(path.name for path in
                       (self.folder / "traced/traces").iterdir())
        self.assertEqual(names, [f"trace-stage-{n}.h5" for n in range(3)])

    @unittest.skipIf(PYTHON is None, "python3-h5py is not installed")
    def test_records_are_the_steps_and_micro_batches_asked_for(self):
        self.trace("run", ranks=2)

        folder = self.folder / "run/traces"
        for stage, kind in ((0, "activation"), (1, "gradient")):
            trace = read_trace(folder / f"trace-stage-{stage}.h5")
            self.assertTrue(trace)
            for value in trace.values():
                self.assertEqual(list(value), [kind])
                records = value[kind]["records"]
                self.assertEqual(
                    [(row["step"], row["micro_batch"]) for row in records],
                    [(1, 0), (1, 1), (6, 0), (6, 1), (11, 0), (11, 1)])
                self.assertEqual(len(value[kind]["data"]), 6)
                self.assertGreater(records[0]["rms"], 0)

    @unittest.skipIf(PYTHON is None, "python3-h5py is not installed")
    def test_a_run_that_goes_on_goes_on_with_its_trace(self):
        self.trace("whole", ranks=2)
        self.trace("parts", "--set", "train.steps=7", ranks=2)
        self.trace("parts", "--resume", ranks=2)

        def read(run):
            return read_trace(
                self.folder / run / "traces/trace-stage-0.h5")

        self.assertEqual(read("whole"), read("parts"))

    def test_a_value_that_nobody_sends_is_refused(self):
        result = self.train("run", "--set", 'trace.values=["wte"]', ranks=2,
                            status=2)

        self.assertEqual(len(result.sentences()), 1, result)
        self.assertIn("wte", result.sentences()[0])


if __name__ == "__main__":
    harness.main()
