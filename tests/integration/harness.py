"""Run the program as its users do, and look at what it leaves behind."""

import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

INPUTS = pathlib.Path(__file__).resolve().parent.parent / "inputs"
TINY = INPUTS / "tiny.toml"
DEEP = INPUTS / "deep.toml"

# What a run computes; the rest of a line of metrics is time.
COMPUTED = ("step", "loss", "grad_norm", "learning_rate", "validation_loss",
            "validation_accuracy", "skipped")

# Of a model that is a file.
OF_MODEL_FILE = """
[run]
name = "{name}"
output = "{output}"
[model]
kind = "{kind}"
path = "{path}"
[data]
{data}
[train]
batch = {batch}
steps = {steps}
optimizer = "sgd"
learning_rate = 0.1
"""

_tools = argparse.Namespace()


def main():
    """Take the tools' paths off the command line and run the tests."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--mpiexec", required=True)
    parser.add_argument("--digest", required=True)
    parser.add_argument("--attention-model", required=True)
    parser.add_argument("--other-program", default="")
    _, rest = parser.parse_known_args(namespace=_tools)
    unittest.main(argv=[sys.argv[0], "--verbose", *rest])


def find_pytorch(least):
    """A Python with PyTorch of at least that version, or None:
    $FUSIONLLM_TEST_PYTHON alone if it is set, else this one, else the system's,
    which Debian's python3-torch is for."""
    named = os.environ.get("FUSIONLLM_TEST_PYTHON")
    check = ("import torch; assert tuple(map(int, torch.__version__"
             f".split('.')[:2])) >= {least}")
    for python in [named] if named else [sys.executable, "/usr/bin/python3"]:
        found = subprocess.run([python, "-c", check], capture_output=True,
                               check=False)
        if found.returncode == 0:
            return python
    return None


def program():
    return _tools.program


def other_program():
    """A program with another LibTorch, or an empty text."""
    return _tools.other_program


def write_attention_model(file):
    """A model file with operators that LibTorch 1.13 lacks."""
    subprocess.run([_tools.attention_model, file], check=True)


class Result:
    def __init__(self, status, stdout, stderr, seconds):
        self.status = status
        self.stdout = stdout
        self.stderr = stderr
        self.seconds = seconds

    def sentences(self):
        """What the program itself says on stderr, without mpirun's noise."""
        return [line for line in self.stderr.splitlines()
                if line.startswith("fusionllm: ")]

    def __str__(self):
        return (f"exit status {self.status} after {self.seconds:.1f} s\n"
                f"--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}")


class Job:
    """A started command, in a session of its own so that all of it can end."""

    def __init__(self, command, scratch, environment):
        self._begin = time.monotonic()
        self._files = [tempfile.NamedTemporaryFile("w+", dir=scratch)
                       for _ in range(2)]
        self._process = subprocess.Popen(
            [str(word) for word in command], cwd=scratch, env=environment,
            stdin=subprocess.DEVNULL, stdout=self._files[0],
            stderr=self._files[1], start_new_session=True)
        self.pid = self._process.pid

    def output(self):
        return [pathlib.Path(file.name).read_text(errors="replace")
                for file in self._files]

    def is_running(self):
        return self._process.poll() is None

    def processes(self):
        """Ids of all processes of this job that are not ended."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                # After the name, which may hold anything: state ppid pgrp sid
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == self.pid and fields[0] != "Z":
                found.append(int(entry.name))
        return found

    def leftovers(self, limit_s=10):
        """Ids of processes that do not end in that time by themselves.

        mpirun does not wait for those it kills: the system may still be taking
        down the memory of a rank when mpirun has ended.
        """
        end = time.monotonic() + limit_s
        while (found := self.processes()) and time.monotonic() < end:
            time.sleep(0.01)
        return found

    def rank_pids(self):
        """Process id of each rank, from the table the program prints."""
        rows = re.findall(r"^ *(\d+) +\S+ +(\d+) +\S+ +\S+ +(?:\d+|none) *$",
                          self.output()[0], re.MULTILINE)
        return {int(rank): int(pid) for rank, pid in rows}

    def wait_for(self, condition, what, limit_s=60):
        """Wait until `condition` gives something true, and return that."""
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            found = condition()
            if found:
                return found
            if not self.is_running():
                raise AssertionError(f"ended before {what}:\n{self.finish()}")
            time.sleep(0.01)
        raise AssertionError(f"no {what} in {limit_s} s:\n{self.output()}")

    def finish(self, limit_s=60):
        try:
            status = self._process.wait(limit_s)
        except subprocess.TimeoutExpired:
            output = self.output()
            self.kill()
            raise AssertionError(
                f"did not end in {limit_s} s:\n{output}") from None
        return self._result(status)

    def result(self):
        """What there is until now."""
        return self._result(None)

    def _result(self, status):
        return Result(status, *self.output(), time.monotonic() - self._begin)

    def kill(self):
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self._process.wait()


class ProgramTest(unittest.TestCase):
    """Gives each test a folder that goes away, with all it started."""

    def setUp(self):
        top = pathlib.Path(tempfile.mkdtemp(prefix="fusionllm-"))
        self.addCleanup(shutil.rmtree, top, ignore_errors=True)
        self.folder = top / "runs"
        self.folder.mkdir()
        self.scratch = top / "scratch"  # MPI's own files come and go
        self.scratch.mkdir()

    def start(self, *words, ranks=0, mpi_options=(), environment=None,
              program=None, others=()):
        """Start the program: by mpirun, or without it if `ranks` is 0.

        `others` are more programs of the same run, after the first one's
        ranks: (program, its number of ranks), ...
        """
        launch = []
        if ranks:
            launch = [_tools.mpiexec, "-np", ranks, "--oversubscribe",
                      "--bind-to", "none", *mpi_options]
        variables = dict(os.environ,
                         TMPDIR=str(self.scratch),
                         # Open MPI's own, which a killed rank leaves behind
                         OMPI_MCA_btl_vader_backing_directory=str(self.scratch),
                         OMPI_ALLOW_RUN_AS_ROOT="1",
                         OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
                         **(environment or {}))
        command = [*launch, program or _tools.program, *words]
        for other, number in others:
            command += [":", "-np", number, other, *words]
        job = Job(command, self.scratch, variables)
        self.addCleanup(job.kill)
        return job

    def run_program(self, *words, ranks=0, status=0, limit_s=60, **programs):
        result = self.start(*words, ranks=ranks, **programs).finish(limit_s)
        self.assertEqual(result.status, status, result)
        return result

    def train(self, output, *words, ranks=0, source=TINY, **expected):
        return self.run_program(source, "--output", self.folder / output,
                                *words, ranks=ranks, **expected)

    def write_model_input(self, name, kind, model, *, batch, steps,
                          data='kind = "synthetic"'):
        """An input of the run `name`, of a model that is a file."""
        source = self.folder / f"{name}.toml"
        source.write_text(OF_MODEL_FILE.format(
            name=name, output=self.folder / name, kind=kind, path=model,
            data=data, batch=batch, steps=steps))
        return source

    def metrics(self, output):
        """Lines of metrics.jsonl, without their times."""
        text = (self.folder / output / "metrics.jsonl").read_text()
        lines = [json.loads(line) for line in text.splitlines()]
        return [{key: line[key] for key in COMPUTED if key in line}
                for line in lines]

    def checkpoints(self, output):
        folder = self.folder / output / "checkpoints"
        return sorted((int(entry.name.removeprefix("step-"))
                       for entry in folder.glob("step-*")
                       if entry.name.removeprefix("step-").isdigit()))

    def checkpoint(self, output, step):
        return self.folder / output / "checkpoints" / f"step-{step}"

    def tensors(self, output, step):
        """Name, type and hash of the bytes of all tensors of a checkpoint."""
        lines = subprocess.run(
            [_tools.digest, self.checkpoint(output, step)],
            check=True, capture_output=True, text=True).stdout.splitlines()
        self.assertTrue(lines)
        return lines

    def assert_same_run(self, one, other, step):
        """Bitwise: every number of the metrics, every tensor at the end."""
        self.assertEqual(self.metrics(one), self.metrics(other))
        self.assertEqual(len(self.metrics(one)), step)
        self.assertEqual(self.tensors(one, step), self.tensors(other, step))


def snapshot(folder):
    """Every path below `folder` with its contents and time of change."""
    return {str(path.relative_to(folder)):
            (path.read_bytes() if path.is_file() else None,
             path.stat().st_mtime_ns)
            for path in sorted(folder.rglob("*"))}
