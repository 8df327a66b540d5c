#!/usr/bin/env python3
"""How much memory do an import and the ranks that load a model take?

    tests/bench/import_memory.py --program build/release/bin/fusionllm
        [--python PYTHON | --archive FILE] [--folder FOLDER] [--ranks 4]
        [--layers 48 --width 1600 --heads 25 --vocabulary 50257] [--check]

Makes a GPT-2 with made-up weights (by default as large as GPT-2 XL) with PYTHON,
which has PyTorch, or takes FILE. Imports it, then trains it for one step from
the archive, with plain SGD, on RANKS ranks. Prints the most host memory (resident
pages, as the kernel counts them) of the import, and of each rank until its
weights were loaded. FOLDER needs twice the weights' room, and is emptied.

With --check: the import takes at most half of the weights more than that of
a model as deep of almost no weights, a rank at most 1.3 times its own weights
more than such a rank, and no rank ever as much as the whole model.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "integration"))

from harness import find_pytorch  # noqa: E402

MIB = 1 << 20
KINDS = {".pt": "torchscript", ".pt2": "pt2", ".h5": "h5"}
TINY = ("--width", "16", "--heads", "2", "--vocabulary", "64",
        "--positions", "16")
# Without PyTorch there is nothing to import; ctest takes this for a skip.
SKIPPED = 77

INPUT = """
[run]
name = "import-memory"
output = "{folder}/out"

[model]
kind = "{kind}"
path = "{archive}"

[data]
kind = "synthetic"

[train]
batch = 1
steps = 1
optimizer = "sgd"

[plan]
partition = "equal_memory"
"""


def run(command, folder):
    """Standard output, and the most memory in MiB of a command alone."""
    with open(folder / "log", "w+", encoding="utf-8") as log:
        process = subprocess.Popen([str(word) for word in command],
                                   stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        log.seek(0)
        text = log.read()
    if status != 0:
        sys.exit(f"{' '.join(map(str, command))}: {text}")
    return text, usage.ru_maxrss / 1024


def make_archive(options, name, sizes, folder):
    archive = folder / f"{name}{options.suffix}"
    run([options.python, "-B", HERE / "gpt2_archive.py", archive, *sizes],
        folder)
    return archive


def measure_import(options, archive, folder):
    """MiB of the weights, and of the import at most."""
    output = folder / "imported.h5"
    _, most = run([options.program, "import", archive, "-o", output], folder)
    weights = output.stat().st_size / MIB
    output.unlink()
    return weights, most


def measure_ranks(options, archive, folder):
    """[weights, most while loading, most in the run] of each rank, in MiB."""
    source = folder / "input.toml"
    source.write_text(INPUT.format(folder=folder, archive=archive,
                                   kind=KINDS[archive.suffix]))
    text, _ = run([options.mpiexec, "-np", options.ranks, "--oversubscribe",
                   "--bind-to", "none", options.program, source,
                   "--overwrite"], folder)
    table = text[text.index("MiB of rank"):]
    return [[float(cell) for cell in row] for row in re.findall(
        r"^ *\d+ +([\d.]+) +([\d.]+) +([\d.]+)$", table, re.MULTILINE)]


def check(weights, imported, ranks, tiny_import, tiny_ranks):
    """Sentences about what is too much; `tiny_*` is the program without a
    model to speak of."""
    failures = []
    if imported - tiny_import > weights / 2:
        failures.append(f"the import took {imported - tiny_import:.0f} MiB for "
                        f"{weights:.0f} MiB of weights")
    program = max(loaded for _, loaded, _ in tiny_ranks)
    for rank, (own, loaded, most) in enumerate(ranks):
        if loaded - program > 1.3 * own:
            failures.append(f"rank {rank} took {loaded - program:.0f} MiB to "
                            f"load {own:.0f} MiB")
        if loaded - program > weights:
            failures.append(f"rank {rank} held the whole model")
    return failures


def measure(options, folder):
    tiny = make_archive(
        options, "tiny", ("--layers", str(options.layers), *TINY), folder)
    _, tiny_import = measure_import(options, tiny, folder)
    tiny_ranks = measure_ranks(options, tiny, folder)
    archive = options.archive
    if archive is None:
        sizes = [word for name in ("layers", "width", "heads", "vocabulary",
                                   "positions")
                 for word in (f"--{name}", str(getattr(options, name)))]
        archive = make_archive(options, "model", sizes, folder)
    weights, imported = measure_import(options, archive, folder)
    print(f"weights {weights:.0f} MiB")
    print(f"import: at most {imported:.0f} MiB, of a tiny model "
          f"{tiny_import:.0f} MiB")
    ranks = measure_ranks(options, archive, folder)
    print("rank  weights  most while loading  ratio  most in the run")
    for rank, (own, loaded, most) in enumerate(ranks):
        print(f"{rank:4}  {own:7.0f}  {loaded:18.0f}  {loaded / own:5.2f}  "
              f"{most:15.0f}")
    print("most while loading a tiny model: "
          f"{max(loaded for _, loaded, _ in tiny_ranks):.0f}")
    return check(weights, imported, ranks, tiny_import, tiny_ranks)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--mpiexec", default="mpirun")
    parser.add_argument("--python", default=find_pytorch((1, 13)))
    parser.add_argument("--archive", type=pathlib.Path)
    parser.add_argument("--folder")
    parser.add_argument("--suffix", choices=[".pt", ".pt2"], default=".pt")
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--layers", type=int, default=48)
    parser.add_argument("--width", type=int, default=1600)
    parser.add_argument("--heads", type=int, default=25)
    parser.add_argument("--vocabulary", type=int, default=50257)
    parser.add_argument("--positions", type=int, default=1024)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    if options.python is None:
        print("SKIPPED: no Python with PyTorch was found")
        return SKIPPED
    with tempfile.TemporaryDirectory(prefix="fusionllm-",
                                     dir=options.folder) as folder:
        failures = measure(options, pathlib.Path(folder))
    if options.check and failures:
        print("too much: " + "; ".join(failures))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
