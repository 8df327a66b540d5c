"""What `ip` and `tc` are told, to make, change and count the lines.

Site i has wan0, 10.77.i.1, whose packets go through the router, and mgmt0,
10.78.0.(i + 1), on a bridge that is not shaped, for the launcher. The router's
port w<j> leads to site j; what comes from site i has a class of its own there.
"""

import re

from netlab.testbed import Line

ROUTER = ".router"
DELAY_DEVICE = "delay"
DELAY_TABLE = 100

# A TCP segment of 1448 bytes is 1514 bytes of an Ethernet frame: the line
# carries so much more that a transfer gets the rate that was asked for.
FRAME_PER_PAYLOAD = 1514 / 1448
QUEUE_S = 0.05
LEAST_QUEUE_BYTES = 131072
MOST_QUEUE_BYTES = 32_000_000
LEAST_BURST_BYTES = 3200
BURST_S = 1e-3
# Acknowledgements must not stand behind the data of the other direction.
SMALL_PACKET_SHARE = 0.1
SMALL_PACKET = "match u16 0 0xffc0 at 2"  # below 64 bytes


def wan_address(site):
    return f"10.77.{site}.1"


def management_address(site):
    return f"10.78.0.{site + 1}"


def subnet(site):
    return f"10.77.{site}.0/24"


def router_commands(testbed):
    """`ip -batch` in the router, once all namespaces are there."""
    commands = ["link set lo up", "link add mgmt type bridge",
                "link set mgmt up"]
    for i, site in enumerate(testbed.sites):
        commands += [
            f"link add w{i} type veth peer name wan0 netns {site.name}",
            f"link add m{i} type veth peer name mgmt0 netns {site.name}",
            f"addr add 10.77.{i}.254/24 dev w{i}",
            f"link set w{i} up",
            f"link set m{i} master mgmt up"]
    delayed = {a for (a, _), line in testbed.lines.items() if line.latency_s}
    if delayed:
        commands += [f"tuntap add {DELAY_DEVICE} mode tun vnet_hdr",
                     f"link set {DELAY_DEVICE} up txqueuelen 20000",
                     f"route add default dev {DELAY_DEVICE} "
                     f"table {DELAY_TABLE}"]
        commands += [f"rule add iif w{i} to 10.77.0.0/16 lookup {DELAY_TABLE}"
                     for i in sorted(delayed)]
    return commands


def inside_commands(i):
    """`ip -batch` in the namespace of site i."""
    return ["link set lo up", "link set wan0 up", "link set mgmt0 up",
            f"addr add {wan_address(i)}/24 dev wan0",
            f"addr add {management_address(i)}/24 dev mgmt0",
            f"route add 10.77.0.0/16 via 10.77.{i}.254 congctl cubic"]


def delay_table(testbed):
    return "".join(f"{a} {b} {line.latency_s:.9f}\n"
                   for (a, b), line in sorted(testbed.lines.items())
                   if line.latency_s)


def pair_class(i):
    """The class of what comes from site i; the next two are its leaves."""
    return 0x100 + 4 * i


def port_commands(testbed, j):
    """`tc -batch` in the router: everything that goes to site j."""
    port = f"w{j}"
    downlink = testbed.sites[j].downlink_bytes_per_s
    sources = [i for i in range(len(testbed.sites)) if i != j]
    commands = [f"qdisc add dev {port} root handle 1: htb"]
    if downlink:
        commands.append(f"class add dev {port} parent 1: classid 1:1 "
                        f"{_rate(downlink, downlink)}")
    for i in sources:
        commands += _line_commands(testbed, i, j, "add")
        commands += _queue_commands(testbed, i, j, "add")
        minor = pair_class(i)
        match = f"u32 match ip src {subnet(i)}"
        filters = f"filter add dev {port} parent 1: protocol ip"
        commands += [
            f"{filters} prio 1 {match} {SMALL_PACKET} flowid 1:{minor + 1:x}",
            f"{filters} prio 2 {match} flowid 1:{minor + 2:x}"]
    return commands


def _line_commands(testbed, i, j, verb):
    """The class of the line from i to j with its two leaves."""
    rate = testbed.lines[i, j].bytes_per_s
    downlink = testbed.sites[j].downlink_bytes_per_s
    num_sources = len(testbed.sites) - 1
    # A class sends up to its `rate` whatever its parent says; the rest it
    # borrows, which is how a downlink is shared.
    own = min(rate, downlink / num_sources) if downlink else rate
    most = min(rate, downlink) if downlink else rate
    minor = pair_class(i)
    begin = f"class {verb} dev w{j} parent"
    small = SMALL_PACKET_SHARE
    return [
        f"{begin} 1:{1 if downlink else 0} classid 1:{minor:x} "
        f"{_rate(own, most)}",
        f"{begin} 1:{minor:x} classid 1:{minor + 1:x} "
        f"{_rate(small * own, most)} prio 0",
        f"{begin} 1:{minor:x} classid 1:{minor + 2:x} "
        f"{_rate((1 - small) * own, most)} prio 1"]


def _queue_commands(testbed, i, j, verb):
    """The queues of both leaves."""
    limit = _queue_bytes(testbed.lines[i, j])
    minor = pair_class(i)
    return [f"qdisc {verb} dev w{j} parent 1:{leaf:x} handle {leaf:x}: "
            f"bfifo limit {limit}" for leaf in (minor + 1, minor + 2)]


def _rate(own, most):
    own_bits, most_bits = (max(8, round(rate * 8 * FRAME_PER_PAYLOAD))
                           for rate in (own, most))
    burst = max(LEAST_BURST_BYTES, round(most_bits / 8 * BURST_S))
    return (f"htb rate {own_bits}bit ceil {most_bits}bit burst {burst} "
            f"cburst {burst} quantum 60000")


def _queue_bytes(line):
    wanted = line.bytes_per_s * (QUEUE_S + 2 * line.latency_s)
    return round(min(max(wanted, LEAST_QUEUE_BYTES), MOST_QUEUE_BYTES))


def uplink_commands(site):
    """`tc -batch` in the site: everything that leaves it."""
    rate = site.uplink_bytes_per_s
    if not rate:
        return []
    small = SMALL_PACKET_SHARE
    limit = _queue_bytes(Line(rate, 0.0))
    commands = ["qdisc add dev wan0 root handle 1: htb default 3",
                f"class add dev wan0 parent 1: classid 1:1 "
                f"{_rate(rate, rate)}"]
    for leaf, share, priority in ((2, small, 0), (3, 1 - small, 1)):
        commands += [
            f"class add dev wan0 parent 1:1 classid 1:{leaf} "
            f"{_rate(share * rate, rate)} prio {priority}",
            f"qdisc add dev wan0 parent 1:{leaf} handle {leaf}: bfifo "
            f"limit {limit}"]
    commands.append("filter add dev wan0 parent 1: protocol ip prio 1 u32 "
                    f"match ip dst 10.77.0.0/16 {SMALL_PACKET} flowid 1:2")
    return commands


def rate_commands(testbed, i, j):
    """`tc -batch` that gives the line from i to j its rate in `testbed`.

    What is in its queue stays there, even if it is more than the new limit.
    """
    return (_line_commands(testbed, i, j, "change") +
            _queue_commands(testbed, i, j, "change"))


def cut_command(i, j, verb):
    """`ip -batch`: nothing goes from i to j any more (add), or again (del)."""
    return f"rule {verb} prio 5 from {subnet(i)} to {subnet(j)} blackhole"


def parse_counts(text):
    """(from) -> (bytes, dropped packets), from `tc -s class show` of a port."""
    counts = {}
    for minor, sent, dropped in re.findall(
            r"class htb 1:([0-9a-f]+).*?Sent (\d+) bytes \d+ pkt "
            r"\(dropped (\d+)", text, re.DOTALL):
        source, leaf = divmod(int(minor, 16) - 0x100, 4)
        if source >= 0 and leaf > 0:
            before = counts.get(source, (0, 0))
            counts[source] = (before[0] + int(sent), before[1] + int(dropped))
    return counts
