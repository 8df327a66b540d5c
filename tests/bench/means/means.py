#!/usr/bin/env python3
"""Do emulated time, shaped links and a network in a box agree?

    sudo means.py [--folder FOLDER] [--pml ob1]

For 2, 3 and 4 sites of one rank, each pair joined by a line of 8, 20, 100 or
1000 Mbit/s and 0, 5 or 25 ms: a run in fusionllm-netlab, and one with
[network] mode = "shaped". Their ranks wait as long as their devices would
compute. Every step of the first says both: the seconds it took, and the
emulated ones. The first two steps of a run are left out.

A row a cell: emulated step, median step of the netlab and of the shaped links,
their ratios to the emulated one, and what the longest steps had. FOLDER keeps
the cells as JSON, and those that it has are not run again.
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
          " longest | shaped, ms | ratio | longest |\n|"
          + "---|" * 10, flush=True)
    ratios = {"netlab": [], "shaped": []}
    for num_sites in options.sites:
        for rate in RATES:
            for latency in LATENCIES:
                cell = find_cell(options, folder, num_sites, rate, latency)
                print_cell(num_sites, rate, latency, cell, ratios)
    for name, values in ratios.items():
        errors = sorted(abs(ratio - 1) for ratio in values)
        print(f"\n{name} over emulated: off by "
              f"{100 * statistics.median(errors):.1f}% in the median, "
              f"{100 * errors[-1]:.1f}% at worst, {len(errors)} cells")


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
    ranks = ["mpirun", "-np", num_sites]
    train = [options.program, folder / "means.toml", "--output", folder / "out",
             "--overwrite"]
    netlab = steps_of(folder, [
        options.netlab, folder / "testbed.toml", "--", *ranks, "--mca", "pml",
        options.pml, *train])
    shaped = steps_of(folder, [
        *ranks, "--bind-to", "none", "--oversubscribe", *train,
        "--set", "network.mode=shaped"])
    return {"emulated_s": [step["emulated_step_s"] for step in netlab],
            "netlab_s": [step["step_s"] for step in netlab],
            "shaped_s": [step["shaped_step_s"] for step in shaped]}


def steps_of(folder, command):
    done = subprocess.run([str(word) for word in command],
                          stdin=subprocess.DEVNULL, capture_output=True,
                          text=True)
    if done.returncode != 0:
        raise SystemExit(f"a run failed:\n{done.stdout}\n{done.stderr}")
    lines = map(json.loads,
                (folder / "out/metrics.jsonl").read_text().splitlines())
    return [line for line in lines if "step_s" in line]


def print_cell(num_sites, rate, latency, cell, ratios):
    """A row; its ratios to emulated time are added to `ratios`."""
    emulated = statistics.median(cell["emulated_s"][NUM_WARM:])
    row = [str(num_sites), rate, latency, f"{1e3 * emulated:.0f}"]
    for name, values in ratios.items():
        steps = cell[f"{name}_s"][NUM_WARM:]
        median = statistics.median(steps)
        values.append(median / emulated)
        row += [f"{1e3 * median:.0f}", f"{median / emulated:.3f}",
                f"{max(steps) / emulated:.3f}"]
    print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
