#!/usr/bin/env python3
"""Compare predicted and measured times on this machine.

    estimator.py FOLDER [--rounds N] [--ranks N ...]

FOLDER holds bench_estimator and bench_pipeline. First the ops of sizes that
were not measured, then steps of real runs: in each round every case is
predicted and measured in turn, one thread a rank. A rank needs a core of its
own: more ranks than cores are refused. Nothing else should run.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

CASES = {
    "4 x 256, context 128": "--layers 4 --width 256 --heads 4 --context 128 "
                            "--micro-batch 2 --micro-batches 8",
    "4 x 128, context 256": "--layers 4 --width 128 --heads 2 --context 256 "
                            "--micro-batch 2 --micro-batches 8",
    "4 x 384, context 64": "--layers 4 --width 384 --heads 6 --context 64 "
                           "--micro-batch 4 --micro-batches 4",
}
STEPS = 10


def output_of(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"estimator.py: {' '.join(map(str, command))} failed:\n"
                 f"{done.stderr or done.stdout}")
    return done.stdout


def predict(folder, options, ranks):
    """Seconds of a step by measured ops, and by the formula alone."""
    text = output_of([folder / "bench_estimator", "step", *options,
                      "--np", str(ranks)])
    return [float(re.search(name + r",(\S+)", text).group(1))
            for name in ("measured_ops_s", "formula_s")]


def measure(folder, options, ranks):
    """Median seconds of a step."""
    text = output_of(["mpirun", "-np", str(ranks), "--bind-to", "none",
                      "--oversubscribe", folder / "bench_pipeline", *options,
                      "--steps", str(STEPS)])
    return float(re.search(r"trainer +([0-9.]+) ms a step", text).group(1)) / 1e3


def compare_steps(folder, ranks, rounds):
    schedules = ["1f1b"] if ranks == 1 else ["1f1b", "gpipe"]
    cases = [(name, schedule) for name in CASES for schedule in schedules]
    found = {case: [] for case in cases}
    for _ in range(rounds):
        for name, schedule in cases:
            options = CASES[name].split() + ["--schedule", schedule]
            found[name, schedule].append(
                (*predict(folder, options, ranks),
                 measure(folder, options, ranks)))
    for (name, schedule), times in found.items():
        by_ops, by_formula, measured = map(statistics.median, zip(*times))
        errors = [f"{100 * (a / c - 1):+.1f}" for a, _, c in times]
        print(f"{ranks} ranks, {name}, {schedule}: {1e3 * measured:.1f} ms, "
              f"by measured ops {1e3 * by_ops:.1f} "
              f"({100 * (by_ops / measured - 1):+.1f} %), "
              f"by formula {1e3 * by_formula:.1f} "
              f"({100 * (by_formula / measured - 1):+.1f} %); "
              f"rounds {' '.join(errors)} %", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    if max(arguments.ranks) > cores:
        sys.exit(f"estimator.py: {max(arguments.ranks)} ranks cannot compute "
                 f"at once on {cores} cores; give --ranks up to {cores}")
    print(output_of([arguments.folder / "bench_estimator", "ops"]))
    for ranks in arguments.ranks:
        compare_steps(arguments.folder, ranks, arguments.rounds)


if __name__ == "__main__":
    main()
