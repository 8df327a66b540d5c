#!/usr/bin/env python3
"""Compare predicted and measured times on this machine.

    estimator.py FOLDER [--rounds N] [--ranks N ...] [--steps-only]

FOLDER holds bench_estimator and bench_pipeline. First the ops of sizes that
were not measured, then steps of real runs: in each round every case is
predicted and measured in turn, one thread a rank. A rank that computes needs a
core of its own: more ranks than cores wait as long as the measured ops of their
stage take, and send the real messages. Nothing else should run.
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
    """Seconds of a step by measured ops, by the formula alone, and of stages."""
    text = output_of([folder / "bench_estimator", "step", *options,
                      "--np", str(ranks)])
    stages = re.search(r"stages_s,(\S+)", text).group(1).split(",")
    return [float(re.search(name + r",(\S+)", text).group(1))
            for name in ("measured_ops_s", "formula_s")] + [stages]


def measure(folder, options, ranks):
    """Median seconds of a step."""
    text = output_of(["mpirun", "-np", str(ranks), "--bind-to", "none",
                      "--oversubscribe", folder / "bench_pipeline", *options,
                      "--steps", str(STEPS)])
    return float(re.search(r"trainer +([0-9.]+) ms a step", text).group(1)) / 1e3


def compare(folder, options, ranks, is_waiting):
    by_ops, by_formula, stages = predict(folder, options, ranks)
    waits = ["--waits", *stages] if is_waiting else []
    return by_ops, by_formula, measure(folder, options + waits, ranks)


def compare_steps(folder, ranks, rounds):
    is_waiting = ranks > len(os.sched_getaffinity(0))
    schedules = ["1f1b"] if ranks == 1 else ["1f1b", "gpipe"]
    cases = [(name, schedule) for name in CASES for schedule in schedules]
    found = {case: [] for case in cases}
    for _ in range(rounds):
        for name, schedule in cases:
            options = CASES[name].split() + ["--schedule", schedule]
            found[name, schedule].append(
                compare(folder, options, ranks, is_waiting))
    for (name, schedule), times in found.items():
        by_ops, by_formula, measured = map(statistics.median, zip(*times))
        errors = [f"{100 * (a / c - 1):+.1f}" for a, _, c in times]
        line = (f"{ranks} ranks{' that wait' if is_waiting else ''}, {name}, "
                f"{schedule}: {1e3 * measured:.1f} ms, "
                f"by measured ops {1e3 * by_ops:.1f} "
                f"({100 * (by_ops / measured - 1):+.1f} %)")
        if not is_waiting:  # else it waited for the measured ops
            line += (f", by formula {1e3 * by_formula:.1f} "
                     f"({100 * (by_formula / measured - 1):+.1f} %)")
        print(f"{line}; rounds {' '.join(errors)} %", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--steps-only", action="store_true")
    arguments = parser.parse_args()
    if not arguments.steps_only:
        print(output_of([arguments.folder / "bench_estimator", "ops"]))
    for ranks in arguments.ranks:
        compare_steps(arguments.folder, ranks, arguments.rounds)


if __name__ == "__main__":
    main()
