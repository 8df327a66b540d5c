"""fusionllm-netlab: a wide-area network in a box."""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from netlab import launch, measure, report
from netlab.events import EXAMPLES, parse_events
from netlab.lab import ENDING_SIGNALS, Lab, LabError, check_machine, run_apart
from netlab.testbed import InputError, load_testbed

TIME_TO_END_S = 30

DESCRIPTION = """\
Run an MPI program on this machine as if its ranks were at the sites of a
testbed: a network namespace for each site, with the rates and delays of the
lines between them. Rank i is device i of the testbed. Needs root.

  fusionllm-netlab two-sites.toml -- mpirun -np 4 fusionllm two-sites.toml
"""


class Ended(Exception):
    """A signal came."""

    def __init__(self, number):
        super().__init__()
        self.number = number


def main(folder):
    """`folder` is where this program was called from; its exit status."""
    arguments = _parse_arguments()
    try:
        testbed = load_testbed(arguments.testbed)
        events = parse_events(arguments.at, testbed)
        delay_program = _find_delay_program(folder, testbed)
        _check_counts_file(arguments.counts)
        check_machine()
        return run_apart(
            lambda: _run(arguments, testbed, events, delay_program))
    except InputError as error:
        _complain(error)
        return 2


def _parse_arguments():
    parser = argparse.ArgumentParser(
        prog="fusionllm-netlab", description=DESCRIPTION,
        usage="%(prog)s [options] TESTBED.toml -- COMMAND ...",
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("testbed", metavar="TESTBED.toml",
                        help="a topology file, or an input with a [topology]")
    parser.add_argument("--at", action="append", default=[], metavar="CHANGE",
                        help=f"change a line while the command runs: {EXAMPLES}")
    parser.add_argument("--counts", metavar="FILE.json",
                        help="write the bytes of each line to a file too")
    parser.add_argument("--measure", action="store_true",
                        help="in place of a command: measure every line")
    words = sys.argv[1:]
    end = words.index("--") if "--" in words else len(words)
    arguments = parser.parse_args(words[:end])
    arguments.command = words[end + 1:]
    if bool(arguments.command) == arguments.measure:
        parser.error("give either a command after -- or --measure")
    return arguments


def _find_delay_program(folder, testbed):
    name = "fusionllm-netlab-delay"
    if not any(line.latency_s for line in testbed.lines.values()):
        return name
    path = Path(folder) / name
    if not os.access(path, os.X_OK):
        raise InputError(f"{path} not found, and it makes the delays; build "
                         f"the target {name} or install FusionLLM")
    return str(path)


def _check_counts_file(path):
    """Before the command runs, perhaps for hours, and not after."""
    if not path:
        return
    folder = os.path.dirname(path) or "."
    if os.path.isdir(path):
        problem = "it is a folder"
    elif not os.path.isdir(folder):
        problem = f"there is no folder {folder}"
    elif not os.access(path if os.path.exists(path) else folder, os.W_OK):
        problem = "you may not write there"
    else:
        return
    raise InputError(f"--counts {path} cannot be written: {problem}; give "
                     "another file")


def _run(arguments, testbed, events, delay_program):
    """Inside the lab's own namespaces."""
    for number in ENDING_SIGNALS:
        signal.signal(number, _raise_ended)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING_SIGNALS)
    try:
        lab = Lab(testbed, delay_program)
        if arguments.measure:
            return measure.measure(lab)
        begin = time.monotonic()
        status, made = _run_command(lab, arguments.command, events)
        _report(lab, arguments.counts, testbed, made,
                time.monotonic() - begin)
        return status
    except Ended as ended:
        return 128 + ended.number
    except LabError as error:
        _complain(error)
        return 2


def _complain(error):
    print(f"fusionllm-netlab: {error}", file=sys.stderr)


def _raise_ended(number, _):
    raise Ended(number)


def _run_command(lab, command, events):
    """Its exit status, and the changes that were made, when they were made."""
    made = []
    stdin = subprocess.DEVNULL if os.isatty(0) else None
    process = lab.start(0, command, launch.environment(os.environ),
                        stdin=stdin, start_new_session=True)
    begin = time.monotonic()
    try:
        for event in events:
            if _wait(process, begin + event.at_s) is not None:
                print(f"netlab: the command ended before: {event.what}",
                      file=sys.stderr)
                break
            lab.apply(event)
            made.append(event._replace(at_s=time.monotonic() - begin))
            print(f"netlab: {made[-1].at_s:.1f} s: {event.what}",
                  file=sys.stderr)
        status = process.wait()
    except Ended as ended:
        status = _end(process, ended.number)
    except LabError as error:
        _complain(error)
        _end(process, signal.SIGTERM)
        status = 2
    return (status if status >= 0 else 128 - status), made


def _wait(process, until):
    try:
        return process.wait(max(0.0, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        return None


def _end(process, number):
    """Pass the signal on and wait, but not for ever; a second one ends it."""
    try:
        os.killpg(process.pid, number)
        return process.wait(TIME_TO_END_S)
    except (Ended, ProcessLookupError, subprocess.TimeoutExpired):
        return 128 + number


def _report(lab, path, testbed, made, seconds):
    """What fails here must not hide the status of the command."""
    try:
        counts = lab.counts()
        lab.end()
    except LabError as error:
        _complain(error)
        return
    report.print_counts(testbed, counts, made, seconds)
    try:
        if path:
            report.write_counts(path, testbed, counts, seconds)
    except OSError as error:
        _complain(f"--counts {path} cannot be written: {error.strerror}")
