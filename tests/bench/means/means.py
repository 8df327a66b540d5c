#!/usr/bin/env python3
"""Does emulated time say what real messages over shaped lines take?

    sudo means.py [--folder FOLDER] [--pml ob1]

For 2, 3 and 4 sites of one rank, each pair joined by a line of 8, 20, 100 or
1000 Mbit/s and 0, 5 or 25 ms: one run in fusionllm-netlab, whose ranks wait as
long as their devices would compute. Every step says both: the seconds it took,
and the emulated ones. The first two steps of a run are left out.

A row a cell: emulated step, median step of the netlab, their ratio, and what
the longest step had. FOLDER keeps the cells as JSON, and those that it has are
not run again.
"""

import argparse
import json
import pathlib
import shutil
import statistics
import subprocess
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent
NAMES = ("lyon", "osaka", "graz", "quito")
RATES = ("8 Mbit/s", "20 Mbit/s", "100 Mbit/s", "1 Gbit/s")
LATENCIES = ("0 ms", "5 ms", "25 ms")
NUM_WARM = 2  # the first steps, in which TCP finds out how fast the line is


def main():
    options = parse_options()
    folder = pathlib.Path(options.folder or tempfile.mkdtemp(prefix="means-"))
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "means.toml", folder / "means.toml")
    print("| sites | rate | one way | emulated, ms | netlab, ms | ratio |"
          " longest |\n|---|---|---|---|---|---|---|", flush=True)
    ratios = []
    for num_sites in options.sites:
        for rate in RATES:
            for latency in LATENCIES:
                cell = find_cell(options, folder, num_sites, rate, latency)
                ratios.append(print_cell(num_sites, rate, latency, cell))
    errors = sorted(abs(ratio - 1) for ratio in ratios)
    print(f"\nnetlab over emulated: off by {100 * statistics.median(errors):.1f}"
          f"% in the median, {100 * errors[-1]:.1f}% at worst, "
          f"{len(errors)} cells")


def parse_options():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    bin_folder = ROOT / "build/release/bin"
    parser.add_argument("--program", default=bin_folder / "fusionllm")
    parser.add_argument("--netlab", default=bin_folder / "fusionllm-netlab")
    parser.add_argument("--folder")
    parser.add_argument("--pml", default="ob1", choices=("ob1", "ucx"))
    parser.add_argument("--sites", type=int, nargs="*", default=[2, 3, 4])
    return parser.parse_args()


def find_cell(options, folder, num_sites, rate, latency):
    """Steps of the cell, from the folder or from a run."""
    name = f"{options.pml}-{num_sites}-{rate}-{latency}"
    path = folder / (name.replace(" ", "").replace("/", "") + ".json")
    if not path.exists():
        steps = run(options, folder, num_sites, rate, latency)
        path.write_text(json.dumps(steps) + "\n")
    return json.loads(path.read_text())


def run(options, folder, num_sites, rate, latency):
    sites = ", ".join(f'{{name = "{name}", ranks = 1}}'
                      for name in NAMES[:num_sites])
    (folder / "testbed.toml").write_text(
        f'sites = [{sites}]\ndefault_link = {{bandwidth = "{rate}", '
        f'latency = "{latency}"}}\n')
    command = [options.netlab, folder / "testbed.toml", "--", "mpirun", "-np",
               num_sites, "--mca", "pml", options.pml, options.program,
               folder / "means.toml", "--output", folder / "out",
               "--overwrite"]
    done = subprocess.run([str(word) for word in command],
                          stdin=subprocess.DEVNULL, capture_output=True,
                          text=True)
    if done.returncode != 0:
        raise SystemExit(f"a run failed:\n{done.stdout}\n{done.stderr}")
    lines = map(json.loads,
                (folder / "out/metrics.jsonl").read_text().splitlines())
    steps = [line for line in lines if "emulated_step_s" in line]
    return {"emulated_s": [step["emulated_step_s"] for step in steps],
            "netlab_s": [step["step_s"] for step in steps]}


def print_cell(num_sites, rate, latency, cell):
    """netlab over emulated."""
    emulated = statistics.median(cell["emulated_s"][NUM_WARM:])
    steps = cell["netlab_s"][NUM_WARM:]
    ratio = statistics.median(steps) / emulated
    print(f"| {num_sites} | {rate} | {latency} | {1e3 * emulated:.0f} "
          f"| {1e3 * statistics.median(steps):.0f} | {ratio:.3f} "
          f"| {max(steps) / emulated:.3f} |", flush=True)
    return ratio


if __name__ == "__main__":
    main()
