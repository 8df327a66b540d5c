#include "app/commands/probe.hpp"

#include <cstdio>
#include <filesystem>
#include <functional>
#include <set>
#include <system_error>

#include <fmt/core.h>
#include <unistd.h>

#include "fusionllm/comm/mpi_transport.hpp"
#include "fusionllm/comm/shaped_transport.hpp"
#include "fusionllm/topology/network.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file.hpp"
#include "fusionllm/util/output_file.hpp"
#include "fusionllm/util/text.hpp"
#include "fusionllm/util/timing.hpp"
#include "fusionllm/util/units.hpp"

#include "app/commands/fail_together.hpp"
#include "app/commands/train_briefing.hpp"
#include "app/input_files.hpp"
#include "app/json_text.hpp"
#include "app/probe_sites.hpp"

namespace fusionllm {
namespace {

constexpr int root = 0;

void check_num_ranks(int num_ranks) {
    FUSIONLLM_VALIDATE(
        num_ranks > 1,
        "there are no links to measure with one rank; start two or more "
        "(mpirun -np 2), at least one at each site");
}

GroupLayout layout_of(const ProbeSites& sites) {
    GroupLayout layout{sites.site_of_rank, {}};
    const std::set<int> known(sites.site_of_rank.begin(),
                              sites.site_of_rank.end());
    for (const int a : known) {
        for (const int b : known) {
            if (a < b) {
                layout.group_pairs.emplace_back(a, b);
            }
        }
    }
    return layout;
}

//! What rank 0 read, for all.
struct ProbeBriefing {
    std::string problem;  //!< not empty: all end with `status`
    int status = 0;
    bool is_wanted = false;
    std::string job_id;
    RunInput input;
};

//! `load` is called on rank 0: the input, or nothing if nobody shall measure.
ProbeBriefing brief(const mpi::Communicator& world,
                    const std::vector<std::string>& hosts,
                    const std::function<std::optional<RunInput>()>& load) {
    std::string text;
    if (world.rank() == root) {
        std::string problem;
        int status = 0;
        std::optional<RunInput> input;
        try {
            input = load();
            if (input) {
                make_probe_sites(*input, hosts);
            }
        } catch (const InputError& error) {
            problem = error.what();
            status = 2;
        } catch (const std::exception& error) {
            problem = error.what();
            status = 1;
        }
        text = pack_texts({problem,
                           std::to_string(status),
                           input ? to_toml(*input) : "",
                           fmt::format("{}-{}", mpi::host_name(), getpid())});
    }
    const auto texts =
        unpack_texts(mpi::all_gather_strings(world, text).at(root));
    ProbeBriefing briefing{texts.at(0),
                           std::stoi(texts.at(1)),
                           !texts.at(2).empty(),
                           texts.at(3),
                           {}};
    if (briefing.problem.empty() && briefing.is_wanted) {
        briefing.input = parse_run_input(texts.at(2), "the input", {});
    }
    return briefing;
}

std::string link_name(const ProbeSites& sites, int from, int to) {
    const auto device = [&](int rank) {
        return sites.device_of_rank.at(static_cast<std::size_t>(rank));
    };
    return Network(make_topology(sites.spec)).name(device(from), device(to));
}

//! By the input's `long_wait`.
ProbeNotices make_notices(const ProbeBriefing& briefing,
                          const ProbeSites& sites) {
    return {parse_seconds(briefing.input.run.long_wait),
            [&sites](const ProbeWait& wait) {
                const int other = wait.rank == wait.from ? wait.to : wait.from;
                const auto host = [&](int rank) {
                    return sites.hosts.at(static_cast<std::size_t>(rank));
                };
                std::fprintf(
                    stderr,
                    "fusionllm: the probe of link %s waits %s: rank %d (host "
                    "%s) hears nothing from rank %d (host %s); check the line "
                    "between them\n",
                    link_name(sites, wait.from, wait.to).c_str(),
                    format_seconds(wait.waited_s).c_str(),
                    wait.rank,
                    host(wait.rank).c_str(),
                    other,
                    host(other).c_str());
            }};
}

//! Over the links of the testbed if the input shapes them. Collective; the
//! links are known to rank 0.
std::vector<MeasuredLink> measure(const mpi::Communicator& world,
                                  const ProbeBriefing& briefing,
                                  const ProbeSites& sites) {
    MpiTransport plain(world, layout_of(sites));
    const auto rounds = make_probe_rounds(sites);
    const ProbeNotices notices = make_notices(briefing, sites);
    if (briefing.input.network.mode != "shaped") {
        return probe(plain, rounds, ProbeLimits{}, monotonic_s, notices);
    }
    ShapedTransport shaped(
        plain,
        share_links(world,
                    briefing.job_id,
                    make_shaped_links(Network(make_topology(sites.spec)),
                                      sites.device_of_rank,
                                      shape_options_of(briefing.input))));
    // What a slowed testbed shows is not what it is.
    const auto testbed_s = [scale = briefing.input.network.time_scale] {
        return monotonic_s() / scale;
    };
    return probe(shaped, rounds, ProbeLimits{}, testbed_s, notices);
}

RunInput load_probe_input(const InputArguments& arguments) {
    if (!arguments.file.empty()) {
        return load_run_input(arguments.file, arguments.overrides);
    }
    FUSIONLLM_VALIDATE(arguments.overrides.empty(),
                       "--set changes keys of an input file, and none is "
                       "given; name one before it");
    RunInput input;
    input.data.kind = "synthetic";  // which needs no path
    return input;
}

void print_links(const ProbeSites& sites,
                 const std::vector<MeasuredLink>& links) {
    std::vector<std::vector<std::string>> rows;
    for (const MeasuredLink& link : links) {
        rows.push_back({link_name(sites, link.from, link.to),
                        format_seconds(link.latency_s),
                        write_bits_per_s(link_of(link).bandwidth_bytes_per_s),
                        fmt::format("{:.0f}%", 100 * link.error)});
    }
    std::printf(
        "%s",
        format_table({"link", "latency", "bandwidth", "error"}, rows).c_str());
}

//! Before anybody waits for a measurement that could not be kept.
void check_output(const std::filesystem::path& file) {
    const auto absolute = std::filesystem::absolute(file);
    std::error_code none;
    FUSIONLLM_VALIDATE(
        !std::filesystem::is_directory(absolute, none) &&
            access(absolute.parent_path().c_str(), W_OK | X_OK) == 0,
        "no topology file can be written to '{}'; name a file in a folder "
        "that exists and that you may write to",
        file.string());
}

//! The exit status.
int measure_and_write(const mpi::Communicator& world,
                      const ProbeArguments& arguments) {
    const auto hosts = mpi::all_gather_strings(world, mpi::host_name());
    const ProbeBriefing briefing = brief(world, hosts, [&] {
        check_output(arguments.output);
        const RunInput input = load_probe_input(arguments.input);
        check_output_file(arguments.output,
                          list_input_files(arguments.input.file, input));
        check_num_ranks(world.size());
        return std::optional(input);
    });
    const bool is_root = world.rank() == root;
    if (!briefing.problem.empty()) {
        if (is_root) {
            std::fprintf(stderr, "fusionllm: %s\n", briefing.problem.c_str());
        }
        return briefing.status;
    }
    const ProbeSites sites = make_probe_sites(briefing.input, hosts);
    const auto links = measure(world, briefing, sites);
    if (is_root) {
        print_links(sites, links);
        write_file(arguments.output, probed_topology_text(sites, links));
        std::printf("the topology is in %s\n", arguments.output.c_str());
    }
    return 0;
}

}  // namespace

ProbedTopology probe_topology(
    const mpi::Communicator& world,
    const std::vector<std::string>& hosts,
    const std::function<RunInput()>& load,
    const std::function<void(const Activity&)>& on_activity) {
    const ProbeBriefing briefing =
        brief(world, hosts, [&]() -> std::optional<RunInput> {
            const RunInput input = load();
            return input.topology.probe && world.size() > 1
                       ? std::optional(input)
                       : std::nullopt;
        });
    if (!briefing.problem.empty() || !briefing.is_wanted) {
        return {briefing.problem, briefing.status, std::nullopt};
    }
    const ProbeSites sites = make_probe_sites(briefing.input, hosts);
    const Activity agreement{0, Phase::agreement, 0};
    const bool is_root = world.rank() == root;
    if (is_root) {
        on_activity(agreement);  // it has come where the others are
    }
    on_activity({0, Phase::probe, 0});
    const auto links = measure(world, briefing, sites);
    on_activity(is_root ? Activity() : agreement);
    if (!is_root) {
        return {};
    }
    print_links(sites, links);
    return {"", 0, with_measured_links(sites, links)};
}

int run_probe(int& argc, char**& argv, const ProbeArguments& arguments) {
    const mpi::Environment environment(argc, argv);
    const auto world = mpi::Communicator::world();
    try {
        return measure_and_write(world, arguments);
    } catch (const InputError& error) {
        fail_together(world, error.what(), 2);
    } catch (const std::exception& error) {
        fail_together(world, error.what(), 1);
    }
}

}  // namespace fusionllm
