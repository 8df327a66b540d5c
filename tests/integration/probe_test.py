"""Links that are known are found again, by ranks that mpirun starts."""

import tomllib

import harness

SITES = ("--set", "topology.sites=[{name = 'lyon', ranks = 1}, "
                  "{name = 'osaka', ranks = 1}, {name = 'graz', ranks = 1}]")
LINKS = {("lyon", "osaka"): (8, 25), ("osaka", "lyon"): (20, 25),
         ("lyon", "graz"): (40, 40), ("graz", "lyon"): (40, 40),
         ("osaka", "graz"): (20, 60), ("graz", "osaka"): (30, 60)}


class ProbeTest(harness.ProgramTest):
    def assert_near(self, link, rate, latency):
        """In Mbit/s and ms."""
        number, unit = link["bandwidth"].split()
        found_rate = float(number) * {"Mbit/s": 1, "kbit/s": 1e-3}[unit]
        self.assertAlmostEqual(found_rate, rate, delta=0.25 * rate)
        number, unit = link["latency"].split()
        self.assertEqual(unit, "ms")
        self.assertAlmostEqual(float(number), latency, delta=0.25 * latency)

    def test_shaped_links_are_found_again_and_planned_with(self):
        found = self.folder / "topology.toml"
        links = ", ".join(
            f"{{from = '{a}', to = '{b}', bandwidth = '{rate} Mbit/s', "
            f"latency = '{latency} ms'}}"
            for (a, b), (rate, latency) in LINKS.items())

        self.run_program("probe", harness.TINY, "-o", found, *SITES,
                         "--set", "network.mode=shaped",
                         "--set", f"topology.links=[{links}]",
                         ranks=3, limit_s=120)

        topology = tomllib.loads(found.read_text())
        self.assertEqual(len(topology["links"]), len(LINKS))
        for link in topology["links"]:
            self.assert_near(link, *LINKS[link["from"], link["to"]])
        self.run_program("plan", harness.TINY,
                         "--set", f"topology.file={found}")

    def test_links_of_a_slowed_testbed_are_those_of_the_testbed(self):
        found = self.folder / "topology.toml"

        self.run_program(
            "probe", harness.TINY, "-o", found,
            "--set", "topology.sites=[{name = 'lyon', ranks = 1}, "
                     "{name = 'osaka', ranks = 1}]",
            "--set", "topology.links=[{between = ['lyon', 'osaka'], "
                     "bandwidth = '20 Mbit/s', latency = '10 ms'}]",
            "--set", "network.mode=shaped", "--set", "network.time_scale=2",
            ranks=2, limit_s=120)

        for link in tomllib.loads(found.read_text())["links"]:
            self.assert_near(link, 20, 10)

    def test_a_link_that_is_dead_for_long_is_named(self):
        result = self.run_program(
            "probe", harness.TINY, "-o", self.folder / "topology.toml",
            "--set", "topology.sites=[{name = 'lyon', ranks = 1}, "
                     "{name = 'osaka', ranks = 1}]",
            "--set", "topology.links=[{between = ['lyon', 'osaka'], "
                     "bandwidth = '20 Mbit/s', latency = '10 ms'}]",
            "--set", "network.mode=shaped", "--set", "run.long_wait=1 s",
            "--set", "network.changes=['lyon-osaka x0 at 0.5 s for 3 s']",
            ranks=2, limit_s=120)

        self.assertRegex(
            result.sentences()[0],
            r"^fusionllm: the probe of link lyon-osaka waits 1\.\d+ s: rank 0 "
            r"\(host .+\) hears nothing from rank 1 \(host .+\); check the "
            r"line between them$")

    def test_a_run_measures_before_it_plans(self):
        self.train("run", *SITES, "--set", "topology.probe=true",
                   "--set", "train.steps=1", ranks=3)

        resolved = tomllib.loads((self.folder / "run/input.toml").read_text())
        topology = resolved["topology"]
        self.assertFalse(topology["probe"])
        self.assertEqual({(link["from"], link["to"])
                          for link in topology["links"]}, set(LINKS))

    def test_what_cannot_be_measured_is_refused(self):
        for words, ranks, needle in (
                ((), 0, "two or more"),
                ((harness.TINY, *SITES), 2, "3 "),
                (("--set", "train.steps=1"), 2, "--set")):
            result = self.run_program("probe", *words, "-o",
                                      self.folder / "topology.toml",
                                      ranks=ranks, status=2)
            self.assertEqual(len(result.sentences()), 1, result)
            self.assertIn(needle, result.sentences()[0])
        for output in (self.folder, self.folder / "nowhere/topology.toml"):
            result = self.run_program("probe", "-o", output, ranks=2, status=2)
            self.assertIn(str(output), result.sentences()[0])
        result = self.train("run", *SITES, "--set", "topology.probe=true",
                            "--set", "network.mode=shaped", ranks=3, status=2)
        self.assertIn("probe = true", result.sentences()[0])


if __name__ == "__main__":
    harness.main()
