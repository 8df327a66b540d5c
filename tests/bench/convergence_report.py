"""Tables and plots of the cells that convergence.py has finished.

`write(results, begun, missing, slow_seconds, folder)`: a result is what
convergence.result makes of a cell; `begun` has what there is of unfinished
cells, `missing` the names of all that are not finished;
`slow_seconds[task, label, fences]` is the predicted time of a step over slow
links, and that of a dense step there; a task's dense run is its own. The gap of
a result is its validation loss less that of the dense result of its task and
seed (of the mean of all seeds where that one is missing).
"""

import csv
import re
import statistics

from convergence_cells import BLOCKS, TASKS

# The study that the codecs were chosen after: byte ratio, codec, gap in nats;
# dense reached 2.072 nats. Other steps, context and program: only shares of the
# dense loss compare.
STUDY_DENSE = 2.072
STUDY = [
    (4, "int8", 0.004), (8, "int4", 0.030),
    (9, "int4, int3 stochastic backward", 0.040),
    (16, "shared-mask top-k, 4 bit", 0.050),
    (32, "PCA rank 28, 4 bit", 0.125), (63, "shared-mask top-k, 4 bit", 0.202),
    (101, "PCA rank 8, 4 bit", 0.209),
    (119, "per-token shared-mask top-k, 4 bit", 0.232),
]
# Byte ratio at least, gap at most (share of the dense loss), all fences.
WANTED = [(8, 0.01), (16, 0.02), (100, 0.05)]
NOT_CODECS = ("dense", "cut", "zeros")
FAMILIES = {"int": "o", "top_k_row": "v", "top_k": "^", "subspace": "s",
            "paper": "x", "dense": "*", "adaptive": "P", "uniform": "1",
            "AdaTopK": "2", "fp32": "D"}


def is_codec(row):
    return not row["label"].startswith(NOT_CODECS)


def with_gaps(results):
    """The results with `gap`, `gap_off` and `share`, where dense is there."""
    dense = {}
    for row in results:
        if row["label"] == "dense":
            dense.setdefault(row["task"], {})[row["seed"]] = row["loss"]
    rows = []
    for row in results:
        seeds = dense.get(row["task"])
        if not seeds:
            continue
        base = seeds.get(row["seed"], statistics.mean(seeds.values()))
        off = row["loss_codec_off"] if is_codec(row) else None
        rows.append({**row, "gap": row["loss"] - base,
                     "share": (row["loss"] - base) / base,
                     "gap_off": None if off is None else off - base,
                     "share_off": None if off is None else (off - base) / base})
    return rows


def merged(rows):
    """One row for all seeds of a codec: means, and the spread of the gaps."""
    groups = {}
    for row in rows:
        groups.setdefault((row["task"], row["label"], row["fences"]),
                          []).append(row)
    result = []
    for group in groups.values():
        row = dict(group[0])
        for key in ("loss", "gap", "gap_off", "share", "share_off"):
            if row[key] is not None:
                row[key] = statistics.mean(each[key] for each in group)
        row["seeds"] = sorted(each["seed"] for each in group)
        what = "gap" if is_codec(row) else "loss"
        values = [each[what] for each in group]
        row["spread"] = max(values) - min(values) if len(group) > 1 else None
        result.append(row)
    return result


def signed(value):
    return "" if value is None else f"{value:+.4f}"


def percent(value):
    return "" if value is None else f"{100 * value:+.1f}%"


def seconds(value):
    return "" if value is None else f"{value:.3g} s"


def task_table(rows, slow_seconds):
    """All of one task: controls first, then by fences and byte ratio."""
    order = {"none": 0, "all": 1}
    rows = sorted(rows, key=lambda row: (
        order.get(row["fences"], 2), row["fences"], is_codec(row),
        row["byte_ratio"], row["loss"]))
    lines = ["| fences | codec | byte ratio | loss | gap | of dense | "
             "of the control's | gap, codec off | of dense | seeds | "
             "step over slow links |",
             "|---|---|--:|--:|--:|--:|--:|--:|--:|---|--:|"]
    for row in rows:
        loss = f"{row['loss']:.4f}"
        if row["spread"] is not None:
            what = "gaps" if is_codec(row) else "losses"
            loss += f" ({what} within {row['spread']:.4f})"
        ratio = f"{row['byte_ratio']:.1f}" if is_codec(row) else ""
        label = row["label"]
        if label.startswith("zeros"):
            label += f" ({row['steps']} steps)"
        slow, _ = slow_seconds.get((row["task"], row["label"], row["fences"]),
                                   (None, None))
        seeds = ", ".join(map(str, row["seeds"]))
        lost = control_gap(rows, row["fences"]) if is_codec(row) else None
        lines.append(f"| {row['fences']} | {label} | {ratio} | {loss} | "
                     f"{signed(row['gap'])} | {percent(row['share'])} | "
                     f"{percent(row['gap'] / lost) if lost else ''} | "
                     f"{signed(row['gap_off'])} | "
                     f"{percent(row['share_off'])} | {seeds} | "
                     f"{seconds(slow)} |")
    return lines


def block_of(control):
    return int(re.search(r"\d+$", control["label"]).group())


def control_of(rows, fences):
    """The control whose fence is the last of these, or the last there is where
    a plan or a rule gives them; None if it has not been run. Of images, which
    have no token ids, nothing crosses: zeros."""
    has_tokens = all(TASKS[row["task"]].data != "images" for row in rows)
    cuts = sorted((row for row in rows if row["label"].startswith(
        "cut" if has_tokens else "zeros")), key=block_of)
    if fences in BLOCKS:
        cuts = [row for row in cuts if block_of(row) == BLOCKS[fences][-1]]
    return cuts[-1] if cuts else None


def control_gap(rows, fences):
    """What is lost where nothing crosses; None where that is nothing."""
    control = control_of(rows, fences)
    return control["gap"] if control and control["gap"] > 0 else None


def steps_to(curve, loss):
    """The first step of a curve with a loss as low; None if there is none."""
    return next((step for step, here in curve if here <= loss), None)


def steps_of_dense(group, dense, share):
    """How many times the steps of dense the runs of a codec take to the
    training loss that dense has after a share of its steps; the mean of their
    seeds, None where one does not get there."""
    ratios = []
    for row in group:
        curve = dense.get(row["seed"])
        if not curve:
            return None
        step, loss = curve[round(share * len(curve)) - 1]
        steps = steps_to(row["train_curve"], loss)
        # Dense's first one there too: its curve is not quite monotonic.
        ratios.append(steps and steps / steps_to(curve, loss))
    return None if None in ratios else statistics.mean(ratios)


def time_table(rows, slow_seconds):
    """Of one task: what codecs take to two losses, beside dense."""
    dense = {row["seed"]: row["train_curve"] for row in rows
             if row["label"] == "dense"}
    groups = {}
    for row in rows:
        if is_codec(row):
            groups.setdefault((row["fences"], row["label"]), []).append(row)
    lines = ["| fences | codec | byte ratio | steps to dense's loss at a half "
             "| time | steps to dense's loss at the end | time | seeds |",
             "|---|---|--:|--:|--:|--:|--:|---|"]
    for (fences, label), group in sorted(
            groups.items(), key=lambda item: (item[0][0],
                                              item[1][0]["byte_ratio"])):
        slow, slow_dense = slow_seconds[group[0]["task"], label, fences]
        cells = []
        for share in (0.5, 1):
            steps = steps_of_dense(group, dense, share)
            cells += ["not reached", ""] if steps is None else [
                f"{steps:.2f}", f"{steps * slow / slow_dense:.2f}"]
        seeds = ", ".join(str(row["seed"]) for row in group)
        lines.append(f"| {fences} | {label} | {group[0]['byte_ratio']:.1f} | "
                     + " | ".join(cells) + f" | {seeds} |")
    return lines


def control_sentences(task, rows):
    """What the controls say of the rows of each kind of fences."""
    by_control = {}
    for fences in sorted({row["fences"] for row in rows if is_codec(row)}):
        control = control_of(rows, fences)
        by_control.setdefault(control and control["label"],
                              (control, []))[1].append(fences)
    sentences = []
    for control, fences in by_control.values():
        names = ", ".join(fences)
        if control is None:
            sentences.append(f"{task}, fences {names}: no control has been "
                             f"run, so nothing is proven.")
            continue
        share = control["share"]
        sentences.append(
            f"{task}, fences {names}: the control ({control['label']}) is "
            f"{100 * abs(share):.1f}% {'better' if share < 0 else 'worse'} "
            f"than dense." + ("" if share >= 0.1 else
            " Short of 10% worse, these rows prove nothing: they cannot tell "
            "whether what crosses the fences matters."))
    return sentences


def best_at(rows, fences, ratio, gap):
    """Least gap at a byte ratio from `ratio`, as a share of dense; None where
    nothing near was run and what was run further out is above `gap`."""
    rows = [row for row in rows if row["fences"] == fences and is_codec(row)
            and row["byte_ratio"] >= ratio]
    near = [row for row in rows if row["byte_ratio"] < 1.9 * ratio]
    kept = [row for row in rows if row["share"] <= gap]
    return min(kept or near, key=lambda row: row["gap"], default=None)


def front_table(rows):
    """Ours beside each row of the study, all fences."""
    lines = ["| study: byte ratio | codec | gap of dense | ours: byte ratio | "
             "codec | gap of dense |", "|--:|---|--:|--:|---|--:|"]
    for ratio, codec, gap in STUDY:
        ours = best_at(rows, "all", 0.93 * ratio, gap / STUDY_DENSE)
        cells = "| not run | |" if ours is None else (
            f"{ours['byte_ratio']:.1f} | {ours['label']} | "
            f"{percent(ours['share'])} |")
        lines.append(f"| {ratio} | {codec} | {percent(gap / STUDY_DENSE)} | "
                     f"{cells}")
    return lines


# The kinds of fences that something is wanted of, and which part of the gap.
WANTED_PART = {"all": 1, "one": 0.5, "last": 0.5}


def wanted_table(by_task):
    by_task = {task: rows for task, rows in by_task.items()
               if any(row["fences"] in WANTED_PART for row in rows)}
    lines = ["| fences | wanted | " + " | ".join(by_task) + " |",
             "|---|---|" + "---|" * len(by_task)]
    for fences, factor in WANTED_PART.items():
        if not any(row["fences"] == fences for rows in by_task.values()
                   for row in rows):
            continue
        for ratio, gap in WANTED:
            cells = []
            for rows in by_task.values():
                best = best_at(rows, fences, ratio, gap * factor)
                if best is None:
                    cells.append("not run")
                    continue
                verdict = "kept" if best["share"] <= gap * factor else "missed"
                cells.append(f"{verdict}: {percent(best['share'])} at "
                             f"{best['byte_ratio']:.1f}x, {best['label']}")
            lines.append(f"| {fences} | at most {100 * gap * factor:g}% at "
                         f"{ratio}x | "
                         + " | ".join(cells) + " |")
    return lines


def begun_table(begun, results):
    """How far unfinished cells are, beside dense at the same step."""
    dense = {row["task"]: dict(row["train_curve"]) for row in results
             if row["label"] == "dense" and row["seed"] == 1}
    lines = ["| cell | step | training loss | of dense at that step |",
             "|---|--:|--:|--:|"]
    for cell in begun:
        step, loss = cell["train_curve"][-1]
        base = dense.get(cell["task"], {}).get(step)
        lines.append(f"| `{cell['name']}` | {step} of {cell['steps']} | "
                     f"{loss:.4f} | "
                     f"{'' if base is None else f'{base:.4f}'} |")
    return lines


def write_csv(rows, path):
    keys = ["task", "label", "fences", "seed", "steps", "byte_ratio", "loss",
            "gap", "share", "loss_codec_off", "gap_off", "seconds"]
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, keys, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def write(results, begun, missing, slow_seconds, folder):
    folder.mkdir(parents=True, exist_ok=True)
    rows = with_gaps(results)
    write_csv(rows, folder / "convergence.csv")
    lines = ["<!-- Made by tests/bench/convergence.py; edit that. What it "
             "says: ../evaluation.md. -->\n", "# Convergence", ""]
    by_task = {}
    for row in merged(rows):
        by_task.setdefault(row["task"], []).append(row)
    for task, group in by_task.items():
        lines += [f"## {task}", "",
                  "\n\n".join(control_sentences(task, group)), "",
                  *task_table(group, slow_seconds), ""]
    for task in ("text", "short"):
        if task in by_task:
            lines += [f"## {task} beside the study", "",
                      *front_table(by_task[task]), ""]
    lines += ["## Time to a loss", "",
              "Steps and time are shares of those of dense; time over the "
              "links of the column \"step over slow links\". Losses are those "
              "of training, means of 25 steps.", ""]
    for task in by_task:
        lines += [f"### {task}", "",
                  *time_table([row for row in rows if row["task"] == task],
                              slow_seconds), ""]
    lines += ["## What is wanted", "", *wanted_table(by_task), "",
              "## Begun", "", *begun_table(begun, rows), "",
              "## Not finished", "", ", ".join(f"`{name}`" for name in missing)
              or "All cells are there."]
    (folder / "convergence.md").write_text("\n".join(lines) + "\n")
    if not by_task:
        print("no dense run has been finished, so no gaps and no plots")
        return
    try:
        import matplotlib
    except ImportError:
        print("no matplotlib, so no plots")
        return
    matplotlib.use("svg")
    # The same bytes from the same figures.
    matplotlib.rcParams["svg.hashsalt"] = "convergence"
    matplotlib.rcParams["font.size"] = 9
    matplotlib.rcParams["svg.fonttype"] = "none"
    plot_gaps(by_task, folder / "convergence-gap.svg")
    plot_curves(rows + begun, slow_seconds, folder)


# A codec of one direction alone answers another question.
LEAST_RATIO = 3


def family(row):
    return next(name for name in FAMILIES if row["label"].startswith(name))


def plot_gaps(by_task, path):
    import matplotlib.pyplot as plt
    figure, axes = plt.subplots(1, len(by_task), squeeze=False,
                                figsize=(4.6 * len(by_task), 3.8))
    for axis, (task, rows) in zip(axes[0], by_task.items()):
        for name, marker in FAMILIES.items():
            for fences, colour in (("all", "C0"), ("one", "C1"),
                                   ("plan", "C2"), ("last", "C3")):
                group = sorted((row["byte_ratio"], 100 * row["share"])
                               for row in rows if is_codec(row)
                               and row["fences"] == fences
                               and family(row) == name
                               and "feedback" not in row["label"]
                               and row["byte_ratio"] > LEAST_RATIO)
                if group:
                    axis.plot(*zip(*group), marker=marker, color=colour,
                              linewidth=0 if fences == "plan" else 0.8,
                              label=f"{name}, {fences}")
        for row in rows:
            if row["label"].startswith("cut"):
                axis.axhline(100 * row["share"], color="grey", linestyle=":")
                axis.text(4, 100 * row["share"], row["label"], va="top",
                          color="grey")
        if task in ("text", "short"):
            axis.plot([ratio for ratio, _, _ in STUDY],
                      [100 * gap / STUDY_DENSE for _, _, gap in STUDY],
                      color="k", linestyle="--", linewidth=0.8,
                      label="study, all")
        axis.set(xscale="log", title=task, xlabel="byte ratio",
                 ylabel="gap, % of the dense loss")
        axis.set_yscale("symlog", linthresh=1)
        axis.set_xticks([4, 8, 16, 32, 64, 100], [4, 8, 16, 32, 64, 100])
        axis.minorticks_off()
        axis.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def plot_curves(rows, slow_seconds, folder):
    """Training loss against steps, and against time over slow links."""
    import matplotlib.pyplot as plt
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    for what in ("steps", "time"):
        figure, axes = plt.subplots(1, len(tasks), squeeze=False,
                                    figsize=(4.6 * len(tasks), 3.8))
        for axis, task in zip(axes[0], tasks):
            for row in rows:
                if row["task"] != task or row["seed"] != 1 or \
                        row["label"].startswith("zeros") or \
                        row["fences"] not in ("none", "all", "plan"):
                    continue
                factor = 1
                if what == "time":
                    factor, _ = slow_seconds.get(
                        (task, row["label"], row["fences"]), (None, None))
                    if factor is None:
                        continue
                grey = row["label"].startswith("cut")
                # Not the first mean: the first steps would take half the plot.
                curve = row["train_curve"][1:]
                axis.plot([factor * step for step, _ in curve],
                          [loss for _, loss in curve], linewidth=0.9,
                          linestyle=":" if grey else "-",
                          color="k" if row["label"] == "dense" else None,
                          label=row["label"])
            axis.set(title=task, ylabel="training loss, nats", xlabel={
                "steps": "step",
                "time": "seconds, links of 20 Mbit/s"}[what])
            if what == "time":
                axis.set_xscale("log")
            axis.legend(fontsize=6)
        figure.tight_layout()
        figure.savefig(folder / f"convergence-{what}.svg",
                       metadata={"Date": None})
        plt.close(figure)
