#!/usr/bin/env python3
"""Times a step of FusionLLM and of PyTorch's pipeline over the same slow line.

    sudo peer.py --torch-python VENV/bin/python [--rounds 3] [--steps 6]

VENV has PyTorch 2.5 or later. Two sites of one rank each, one thread a rank,
in fusionllm-netlab; every round runs all contenders in turn, so that a machine
whose speed drifts favours none. The first step of a run is left out. FusionLLM
and PyTorch (on gloo) divide the model of peer.toml in its middle; "adaptive"
plans for itself. Schedule1F1B may be asked for with --contenders: PyTorch 2.6
stood still with it, both ranks waiting for messages.

A line a link and contender: the median step with the least and the largest,
PyTorch's best over it, and for both directions the payload over what the link
could have carried in the time. FOLDER (--folder) keeps every step as JSON.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent
LINKS = {"20 Mbit/s": "0 ms", "8 Mbit/s": "25 ms"}
BYTES_PER_S = {"20 Mbit/s": 2.5e6, "8 Mbit/s": 1e6}
SCHEDULES = ("ScheduleGPipe", "Schedule1F1B")
OURS = ("dense", "adaptive")

# After the last op of the second of the four blocks.
CUT_OP = "h.1.mlp.residual"


def main():
    options = parse_options()
    folder = pathlib.Path(options.folder or tempfile.mkdtemp(prefix="peer-"))
    folder.mkdir(parents=True, exist_ok=True)
    results = []
    for link in options.links:
        prepare(options, folder, link)
        for number in range(options.rounds):
            for name in options.contenders:
                result = run(options, folder, name)
                result.update(link=link, round=number, contender=name)
                results.append(result)
                (folder / "steps.json").write_text(
                    json.dumps(results, indent=1) + "\n")
                print(f"# {link} round {number + 1} {name}: " + " ".join(
                    f"{second:.2f}" for second in result["seconds"]),
                    flush=True)
    report(results)


def parse_options():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    bin_folder = ROOT / "build/release/bin"
    parser.add_argument("--torch-python", required=True)
    parser.add_argument("--program", default=bin_folder / "fusionllm")
    parser.add_argument("--netlab", default=bin_folder / "fusionllm-netlab")
    parser.add_argument("--pml", default="ob1")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--folder")
    parser.add_argument("--links", nargs="*", default=list(LINKS))
    parser.add_argument("--contenders", nargs="*",
                        default=["dense", "ScheduleGPipe", "adaptive"])
    return parser.parse_args()


def prepare(options, folder, link):
    """The input, its topology, and the plan with the cut in the middle."""
    shutil.copy(HERE / "peer.toml", folder / "peer.toml")
    (folder / "line.toml").write_text(
        'sites = [{name = "one", ranks = 1}, {name = "two", ranks = 1}]\n'
        f'default_link = {{bandwidth = "{link}", '
        f'latency = "{LINKS[link]}"}}\n')
    plan = subprocess.run(
        [options.program, "plan", folder / "peer.toml", "--set",
         "plan.partition=equal_ops"],
        capture_output=True, text=True, check=True).stdout
    (folder / "plan.txt").write_text(cut_in_the_middle(plan))


def cut_in_the_middle(plan):
    """A plan of two stages with the cut after CUT_OP, all of it in flight."""
    first, last = re.findall(r"^stage \d+ ops (\d+) (\d+)", plan, re.MULTILINE)
    middle = int(first[1])
    name = re.search(r"^stage 0 .* (\S+)$", plan, re.MULTILINE).group(1)
    if name != CUT_OP:
        middle -= 1  # equal_ops takes the norm of the next block along
    lines = [line for line in plan.splitlines()
             if re.match(r"(graph|micro_batches|group) ", line)]
    return "\n".join([*lines, "schedule 1f1b", "in_flight 8 1",
                      f"stage 0 ops 0 {middle} devices 0",
                      f"stage 1 ops {middle} {last[1]} devices 1", ""])


def run(options, folder, name):
    """Seconds of the steps that count, and bytes of a step each way."""
    result = folder / "torch.json"
    counts = folder / "counts.json"
    launch = [options.netlab, "--counts", counts, folder / "line.toml", "--",
              "mpirun", "-np", "2", "--mca", "pml", options.pml]
    if name in OURS:
        command = [options.program, folder / "peer.toml", "--set",
                   f"train.steps={options.steps}", "--output", folder / "out",
                   "--overwrite"]
        command += (["--plan", folder / "plan.txt"] if name == "dense" else
                    ["--set", "compression.rule=adaptive"])
    else:
        command = [options.torch_python, HERE / "torch_stages.py",
                   folder / "peer.toml", name, options.steps, "10.77.0.1",
                   result]
    environment = dict(os.environ, OMP_NUM_THREADS="1",
                       GLOO_SOCKET_IFNAME="wan0")
    done = subprocess.run([str(word) for word in launch + command],
                          env=environment, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{name} failed:\n{done.stdout}\n{done.stderr}")
    if name in OURS:
        lines = (folder / "out/metrics.jsonl").read_text().splitlines()
        found = {"seconds": [json.loads(line)["step_s"] for line in lines
                             if "step_s" in line]}
        found["payload"] = payload_of_step(done.stdout, options.steps)
    else:
        found = json.loads(result.read_text())
    found["seconds"] = found["seconds"][1:]
    found["wire"] = json.loads(counts.read_text())["lines"]
    return found


def payload_of_step(text, num_steps):
    """Bytes of a step, both directions together, as the program counts."""
    sent = re.search(r"^one - two +(\d+)", text, re.MULTILINE)
    return int(sent.group(1)) / num_steps if sent else 0.0


def report(results):
    print(f"{'link':<10} {'contender':<14} {'step':>7} {'least':>7} "
          f"{'largest':>7} {'times':>6} {'link used':>9}")
    for link in dict.fromkeys(result["link"] for result in results):
        steps = {}
        for result in results:
            if result["link"] == link:
                steps.setdefault(result["contender"], []).extend(
                    result["seconds"])
        peers = [statistics.median(steps[name]) for name in SCHEDULES
                 if name in steps]
        for name, seconds in steps.items():
            step = statistics.median(seconds)
            payload = statistics.mean(
                result.get("payload", 0) for result in results
                if (result["link"], result["contender"]) == (link, name))
            used = payload / 2 / (BYTES_PER_S[link] * step)
            print(f"{link:<10} {name:<14} {step:7.3f} {min(seconds):7.3f} "
                  f"{max(seconds):7.3f} "
                  f"{min(peers) / step if peers else 0:6.2f} "
                  + (f"{100 * used:8.1f}%" if used else "        -"))


if __name__ == "__main__":
    main()
