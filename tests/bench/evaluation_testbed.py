"""A testbed as evaluation.py looks at it: sites, and the rates between them."""

import dataclasses
import pathlib
import re
import tomllib

UNITS = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}
FREE = '{bandwidth = "1000000 Gbit/s", latency = "0 s"}'


def bytes_per_s(text):
    number, unit = re.fullmatch(r"([0-9.]+) ([kMG]?)bit/s", text).groups()
    return float(number) * UNITS[unit] / 8


@dataclasses.dataclass(frozen=True)
class Testbed:
    name: str
    path: pathlib.Path
    table: dict  # as in the file

    @property
    def sites(self):
        return self.table["sites"]

    def site_of_devices(self):
        return [site["name"] for site in self.sites
                for group in site["devices"]
                for _ in range(group.get("count", 1))]

    def rate(self, a, b):
        """Bytes/s of the line between two sites, up- and downlinks included."""
        rates = [bytes_per_s(site[end]) for site in self.sites
                 if site["name"] in (a, b)
                 for end in ("uplink", "downlink") if end in site]
        return min([*rates, bytes_per_s(self.line(a, b))])

    def line(self, a, b):
        matrix = self.table.get("matrix")
        if matrix is not None:
            i, j = sorted(map(matrix["sites"].index, (a, b)))
            return matrix["bandwidth"][i][j]
        for link in self.table.get("links", []):
            if sorted(link["between"]) == sorted((a, b)):
                return link["bandwidth"]
        return self.table["default_link"]["bandwidth"]

    def reachable(self):
        """Pairs of a rate and the sites that links of it or faster join; the
        first pairs are the sites on their own."""
        names = [site["name"] for site in self.sites]
        yield from ((None, (name,)) for name in names)
        rates = {self.rate(a, b) for a in names for b in names if a != b}
        for rate in sorted(rates):
            rest = list(names)
            while rest:
                joined = [rest.pop(0)]
                for a in joined:
                    near = [b for b in rest if self.rate(a, b) >= rate]
                    joined += near
                    rest = [b for b in rest if b not in near]
                if len(joined) > 1:
                    yield rate, tuple(sorted(joined, key=names.index))

    def free_links(self, names):
        """A topology file of these sites, all links infinitely fast."""
        files = ", ".join(f'"{self.path.parent / file}"'
                          for file in self.table["device_files"])
        lines = [f"device_files = [{files}]", f"default_link = {FREE}"]
        for site in self.sites:
            if site["name"] not in names:
                continue
            devices = ", ".join(
                f'{{kind = "{group["kind"]}", count = {group.get("count", 1)}}}'
                for group in site["devices"])
            lines += ["[[sites]]", f'name = "{site["name"]}"',
                      f"devices = [{devices}]", f"link = {FREE}"]
        return "\n".join(lines) + "\n"


def read(path):
    with open(path, "rb") as file:
        return Testbed(path.stem, path, tomllib.load(file))
