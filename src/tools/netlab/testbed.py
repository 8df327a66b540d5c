"""The sites of a topology file, and the lines between them."""

import re
import tomllib
from pathlib import Path
from typing import NamedTuple

SITE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
MOST_SITES = 250  # a site is one number of an address
DEFAULT_LINK = {"bandwidth": "1 Gbit/s", "latency": "10 ms"}

SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0,
           "h": 3600.0, "d": 86400.0}
BYTES_PER_S = {"bit/s": 0.125, "kbit/s": 0.125e3, "Mbit/s": 0.125e6,
               "Gbit/s": 0.125e9, "Tbit/s": 0.125e12,
               "B/s": 1.0, "kB/s": 1e3, "MB/s": 1e6, "GB/s": 1e9,
               "TB/s": 1e12, "KiB/s": 2.0**10, "MiB/s": 2.0**20,
               "GiB/s": 2.0**30, "TiB/s": 2.0**40}


class InputError(Exception):
    """One sentence: what is wrong, where, what to try."""


class Line(NamedTuple):
    """One direction between two sites."""
    bytes_per_s: float
    latency_s: float


class Site(NamedTuple):
    name: str
    num_devices: int
    uplink_bytes_per_s: float  # 0: not limited
    downlink_bytes_per_s: float  # 0: not limited
    hosts: tuple  # names, in order; empty: none is named

    @property
    def host_name(self):
        """What its ranks are told to be on."""
        return self.hosts[0] if len(self.hosts) == 1 else self.name


class Testbed(NamedTuple):
    sites: list
    lines: dict  # (from, to), indices of sites -> Line

    def index(self, name):
        for i, site in enumerate(self.sites):
            if site.name == name:
                return i
        return None


def parse_quantity(text, units, example):
    match = re.fullmatch(r"\s*([0-9.]+(?:[eE][-+]?[0-9]+)?)\s*(\S+)\s*",
                         str(text))
    try:
        return float(match.group(1)) * units[match.group(2)]
    except (AttributeError, KeyError, ValueError):
        raise InputError(
            f"'{text}' is not a number with a unit such as \"{example}\" "
            f"(units: {', '.join(units)})") from None


def parse_seconds(text):
    return parse_quantity(text, SECONDS, "20 ms")


def parse_bytes_per_s(text):
    rate = parse_quantity(text, BYTES_PER_S, "8 Mbit/s")
    if rate <= 0:
        raise InputError(f"the bandwidth '{text}' must be above 0")
    return rate


def load_testbed(path):
    """From a topology file, or from the [topology] of an input."""
    path = Path(path)
    document = _read_toml(path)
    try:
        tables = document.get("topology", document)
        if tables.get("file"):
            path = path.parent / tables["file"]
            tables = _read_toml(path)
        return _read_testbed(tables)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (AttributeError, KeyError, TypeError, ValueError, IndexError):
        raise InputError(
            f"{path} is not a topology as docs/topology.md describes it; "
            "`fusionllm validate` of an input that names it says what is "
            "wrong") from None


def _read_toml(path):
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not TOML: {error}") from None


def _read_testbed(tables):
    if not tables.get("sites"):
        raise InputError("there are no sites; name them as in sites = "
                         "[{name = \"lyon\", ranks = 2}]")
    sites = [_read_site(table) for table in tables["sites"]]
    names = [site.name for site in sites]
    if len(set(names)) != len(names):
        raise InputError("two sites have the same name")
    _refuse_common_hosts(sites)
    if len(sites) > MOST_SITES:
        raise InputError(f"{len(sites)} sites are more than a netlab can "
                         f"have, {MOST_SITES}")
    links = _read_links(tables, names)
    default = _read_line(tables.get("default_link", DEFAULT_LINK))
    return Testbed(sites, {
        (a, b): links.get((names[a], names[b]), default)
        for a in range(len(names)) for b in range(len(names)) if a != b})


def _read_site(table):
    name = table["name"]
    if not SITE_NAME.fullmatch(name):
        raise InputError(f"site '{name}' cannot be the name of a host; use "
                         "letters, digits and -")
    devices = table.get("devices", [])
    hosts = dict.fromkeys(d["host"] for d in devices if d.get("host"))
    limit = {key: parse_bytes_per_s(table[key]) if key in table else 0.0
             for key in ("uplink", "downlink")}
    return Site(name,
                table.get("ranks") or sum(d.get("count", 1) for d in devices),
                limit["uplink"], limit["downlink"], tuple(hosts))


def _refuse_common_hosts(sites):
    """A host is told by its name which site it is."""
    owner = {}
    for site in sites:
        for host in (*site.hosts, site.host_name):
            other = owner.setdefault(host, site)
            if other is not site:
                raise InputError(f"the host '{host}' is at the sites "
                                 f"{other.name} and {site.name}; give it to "
                                 "one of them")


def _read_line(table):
    return Line(parse_bytes_per_s(table["bandwidth"]),
                parse_seconds(table["latency"]))


def _read_links(tables, names):
    """(from, to) -> Line, by names of sites."""
    found = {}
    for table in tables.get("links", []):
        ends = table.get("between") or [table["from"], table["to"]]
        known = [end in names for end in ends]
        if not all(known):
            _refuse_device_link(ends, names)
            continue
        line = _read_line(table)
        found[ends[0], ends[1]] = line
        if "between" in table:
            found[ends[1], ends[0]] = line
    matrix = tables.get("matrix")
    if matrix:
        found.update(_read_matrix(matrix))
    return found


def _refuse_device_link(ends, names):
    """Links of devices of one site are not shaped; others would have to be."""
    sites = [end.rpartition("-")[0] for end in ends]
    if sites[0] != sites[1] or sites[0] not in names:
        raise InputError(
            f"the link between {ends[0]} and {ends[1]} does not join two "
            "sites, and a netlab has only lines between sites")


def _read_matrix(matrix):
    names = matrix["sites"]

    def cell(key, a, b):
        """As given, or as in the other direction; None if neither is."""
        for text in (matrix[key][a][b], matrix[key][b][a]):
            if text not in ("", "-"):
                return text
        return None

    found = {}
    for a, from_name in enumerate(names):
        for b, to_name in enumerate(names):
            bandwidth, latency = cell("bandwidth", a, b), cell("latency", a, b)
            if a != b and (bandwidth or latency):
                found[from_name, to_name] = _read_line(
                    {"bandwidth": bandwidth, "latency": latency})
    return found
