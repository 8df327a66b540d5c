"""Namespaces, lines and delays of a testbed, for as long as this process lives.

All of it is in a mount namespace and a process namespace of its own. When the
first process of that ends, in whatever way, the kernel ends all others, and
with the last of them the network namespaces go: nothing can be left behind,
and two labs never see each other.
"""

import ctypes
import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
import traceback
from pathlib import Path

from netlab import network
from netlab.testbed import InputError

CLONE_NEWNS = 0x00020000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
PR_SET_PDEATHSIG = 1

NAMES = Path("/run/netns")  # where `ip netns` keeps its names
FOLDER = Path("/run/fusionllm-netlab")  # files of the lab, in memory
SITE_EXEC = Path(__file__).resolve().parent / "site-exec"
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TOOLS = ("ip", "tc", "mount", "unshare", "hostname")
ROUTER_SETTINGS = ("net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0",
                   "net.ipv4.conf.default.rp_filter=0")
# What a transfer takes must not depend on those before it, and buffers must
# hold what is on a long fast line.
SITE_SETTINGS = ("net.ipv4.tcp_slow_start_after_idle=0",
                 "net.ipv4.tcp_no_metrics_save=1",
                 "net.ipv4.tcp_wmem=4096 16384 67108864",
                 "net.ipv4.tcp_rmem=4096 131072 67108864")


class LabError(Exception):
    """One sentence about what this machine does not let us do."""


def check_machine():
    if os.geteuid() != 0:
        raise InputError("a netlab makes network namespaces, which needs root; "
                         "run it with sudo")
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        raise InputError(f"{', '.join(missing)} not found; install the "
                         "packages iproute2, util-linux, mount and hostname")


def run_apart(action):
    """Call `action` in namespaces of its own; its exit status."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC) != 0:
        raise InputError("namespaces are not allowed here "
                         f"({os.strerror(ctypes.get_errno())}); a container "
                         "must be started with more rights (--privileged)")
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)
    alive = os.pipe()  # stays open as long as this process lives
    pid = os.fork()
    if pid == 0:
        os.close(alive[1])
        _exit_with(lambda: _be_first_process(libc, alive[0], action))
    _pass_signals_to(pid)
    return _status_of(os.waitpid(pid, 0)[1])


def _be_first_process(libc, alive, action):
    """Its end is the end of all others, so it only waits."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if select.select([alive], [], [], 0)[0]:
        return 1  # the parent had ended before the line above
    os.setpgid(0, 0)  # Ctrl-C comes through the parent, once
    child = os.fork()
    if child == 0:
        _exit_with(action)
    _pass_signals_to(child)
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child:
            return _status_of(status)


def _exit_with(action):
    """End this copy of the process, without what the original has to do."""
    status = 1
    try:
        status = action()
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _pass_signals_to(pid):
    for number in ENDING_SIGNALS:
        signal.signal(number, lambda number, _: os.kill(pid, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING_SIGNALS)


def _status_of(wait_status):
    status = os.waitstatus_to_exitcode(wait_status)
    return status if status >= 0 else 128 - status


class Lab:
    """To be made inside `run_apart`."""

    def __init__(self, testbed, delay_program):
        self.testbed = testbed._replace(lines=dict(testbed.lines))
        self._make_private()
        self._write_files()
        self._make_namespaces()
        self._make_lines()
        self._delay = self._start_delay(delay_program)

    def start(self, site, command, environment, **options):
        """Start a command at a site."""
        variables = dict(os.environ, FUSIONLLM_NETLAB_FOLDER=str(FOLDER),
                         FUSIONLLM_NETLAB_EXEC=str(SITE_EXEC),
                         **environment)
        host = self.testbed.sites[site].host_name
        return subprocess.Popen([SITE_EXEC, host, shlex.join(command)],
                                env=variables, **options)

    def apply(self, event):
        """Make a change of `events.py` now."""
        for i, j in event.pairs:
            if event.verb:
                _call(["ip", "-n", network.ROUTER, "-batch", "-"],
                      [network.cut_command(i, j, event.verb)])
            else:
                self.testbed.lines[i, j] = self.testbed.lines[i, j]._replace(
                    bytes_per_s=event.bytes_per_s)
                _call(["tc", "-n", network.ROUTER, "-batch", "-"],
                      network.rate_commands(self.testbed, i, j))

    def counts(self):
        """(from, to) -> (bytes on the line, packets dropped)."""
        counts = {}
        for j in range(len(self.testbed.sites)):
            text = _call(["tc", "-n", network.ROUTER, "-s", "class", "show",
                          "dev", f"w{j}"])
            for i, count in network.parse_counts(text).items():
                counts[i, j] = count
        return counts

    def end(self):
        """Let the forwarder of delays say how late it was."""
        if self._delay:
            self._delay.terminate()
            self._delay.wait()

    def _make_private(self):
        _call(["mount", "--make-rprivate", "/"])
        _call(["mount", "-t", "proc", "proc", "/proc"])
        for folder in (FOLDER, NAMES):
            folder.mkdir(parents=True, exist_ok=True)
            _call(["mount", "-t", "tmpfs", "tmpfs", str(folder)])

    def _write_files(self):
        sites = list(enumerate(self.testbed.sites))
        self._write("sites", [f"{network.wan_address(i)} {site.host_name} "
                              f"{site.name}" for i, site in sites])
        self._write("hostfile", [f"{site.host_name} slots={site.num_devices}"
                                 for _, site in sites])
        self._write("resolv.conf", [])
        self._write("hosts", ["127.0.0.1 localhost"] +
                    [f"{network.wan_address(i)} {site.host_name}"
                     for i, site in sites])
        for name in ("hosts", "resolv.conf"):
            if os.path.exists(f"/etc/{name}"):
                _call(["mount", "--bind", str(FOLDER / name),
                       os.path.realpath(f"/etc/{name}")])
        (FOLDER / "tmp").mkdir()

    def _write(self, name, lines):
        (FOLDER / name).write_text("".join(line + "\n" for line in lines))

    def _make_namespaces(self):
        names = [site.name for site in self.testbed.sites]
        _call(["ip", "-batch", "-"],
              [f"netns add {name}" for name in (network.ROUTER, *names)])
        _set(network.ROUTER, ROUTER_SETTINGS)
        _call(["ip", "-n", network.ROUTER, "-batch", "-"],
              network.router_commands(self.testbed))
        for i, name in enumerate(names):
            _set(name, SITE_SETTINGS)
            _call(["ip", "-n", name, "-batch", "-"],
                  network.inside_commands(i))

    def _make_lines(self):
        for j, site in enumerate(self.testbed.sites):
            _call(["tc", "-n", network.ROUTER, "-batch", "-"],
                  network.port_commands(self.testbed, j))
            _call(["tc", "-n", site.name, "-batch", "-"],
                  network.uplink_commands(site))

    def _start_delay(self, program):
        table = network.delay_table(self.testbed)
        if not table:
            return None
        path = FOLDER / "delays"
        path.write_text(table)
        process = subprocess.Popen(
            ["ip", "netns", "exec", network.ROUTER, program,
             network.DELAY_DEVICE, str(path)], stdout=subprocess.PIPE)
        if process.stdout.readline() != b"ready\n":
            raise LabError(f"{program} could not delay packets")
        return process


def _set(namespace, settings):
    script = "".join(
        f"echo {value} > /proc/sys/{name.replace('.', '/')}\n"
        for name, value in (setting.split("=") for setting in settings))
    _call(["ip", "netns", "exec", namespace, "sh", "-e", "-c", script])


def _call(command, lines=()):
    """Run a tool that must succeed; what it says."""
    result = subprocess.run(command, input="".join(f"{x}\n" for x in lines),
                            capture_output=True, text=True)
    if result.returncode != 0:
        raise LabError(f"`{' '.join(command)}` failed: "
                       f"{result.stderr.strip() or result.stdout.strip()}; "
                       "the kernel must have network namespaces, veth, HTB, "
                       "u32 and TUN, and this container the right to use them")
    return result.stdout
