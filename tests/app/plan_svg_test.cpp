#include "app/plan_svg.hpp"

#include <algorithm>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "fusionllm/plan/make_plan.hpp"

#include "app/svg_writer.hpp"

namespace fusionllm::test {
namespace {

bool has(std::string_view text, std::string_view part) {
    return text.find(part) != std::string_view::npos;
}

//! What is wrong with elements and entities of an XML text; "" if nothing is.
//! Knows what `to_svg` writes: no comments, no CDATA.
std::string find_xml_problem(std::string_view text) {
    std::vector<std::string> open;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '&') {
            const std::string_view rest = text.substr(i);
            if (!rest.starts_with("&amp;") && !rest.starts_with("&lt;") &&
                !rest.starts_with("&gt;") && !rest.starts_with("&quot;")) {
                return "bare & at " + std::string(rest.substr(0, 40));
            }
        }
        if (text[i] != '<') {
            continue;
        }
        const std::size_t end = text.find('>', i);
        if (end == std::string_view::npos) {
            return "an element without an end";
        }
        const std::string_view tag = text.substr(i + 1, end - i - 1);
        const std::string name(tag.substr(0, tag.find_first_of(" \n/", 1)));
        if (has(tag, "<") || std::ranges::count(tag, '"') % 2 != 0) {
            return "broken element " + std::string(tag);
        }
        if (name.starts_with('/')) {
            if (open.empty() || "/" + open.back() != name) {
                return "unexpected <" + name + ">";
            }
            open.pop_back();
        } else if (!tag.starts_with('?') && !tag.ends_with('/')) {
            open.push_back(name);
        }
        i = end;
    }
    return open.empty() ? "" : "unclosed " + open.back();
}

Job job_on(const std::vector<SiteSpec>& sites) {
    RunInput input = parse_run_input(
        "[data]\nkind = 'synthetic'\n"
        "[model]\nlayers = 12\nwidth = 64\nheads = 2\ncontext = 32\n"
        "[train]\nbatch = 8\nmicro_batches = 4\n",
        "/x.toml",
        {});
    input.topology.spec.sites = sites;
    return make_job(input, {}, std::nullopt);
}

//! Equally many ops on each of the first devices.
Plan plan_of(const Job& job, std::size_t num_stages) {
    const std::size_t num_ops = job.model.num_ops();
    Placement placement;
    for (std::size_t s = 0; s < num_stages; ++s) {
        placement.stages.push_back(
            {{num_ops * s / num_stages, num_ops * (s + 1) / num_stages},
             {DeviceId(static_cast<std::uint32_t>(s))}});
    }
    return assemble_plan(job.graph, job.topology, placement, "1f1b", 4, {});
}

std::string draw(const Job& job,
                 std::size_t num_stages,
                 const std::string& bottleneck) {
    const Plan plan = plan_of(job, num_stages);
    PlanReport report;
    report.stages = report_stages(plan, job.graph, job.model, job.topology);
    report.parts = {0.5, 0.25, 0.125, 0.125};
    report.bottleneck = {bottleneck, 0.5};
    report.samples_per_s = 8;
    return to_svg(report, job, plan);
}

std::vector<SiteSpec> two_sites(int ranks_each) {
    return {{"lyon", ranks_each}, {"osaka", ranks_each}};
}

std::size_t count_of(std::string_view text, std::string_view part) {
    std::size_t count = 0;
    for (auto at = text.find(part); at != std::string_view::npos;
         at = text.find(part, at + 1)) {
        ++count;
    }
    return count;
}

TEST(PlanSvg, is_well_formed_for_one_stage_and_for_many) {
    const Job job = job_on(two_sites(24));

    for (const std::size_t num_stages : {1, 2, 7, 25, 48}) {
        const std::string svg = draw(job, num_stages, "stage 0 on lyon-0");
        EXPECT_EQ(find_xml_problem(svg), "") << num_stages << " stages";
        EXPECT_FALSE(has(svg, "nan") || has(svg, "inf"));
    }
}

TEST(PlanSvg, has_every_stage_device_and_group_once) {
    const Job job = job_on(two_sites(2));

    const std::string svg = draw(job, 4, "stage 0 on lyon-0");

    for (const std::string word : {"stage 0",
                                   "stage 1",
                                   "stage 2",
                                   "stage 3",
                                   "lyon-0",
                                   "lyon-1",
                                   "osaka-0",
                                   "osaka-1",
                                   "lyon",
                                   "osaka"}) {
        EXPECT_EQ(count_of(svg, ">" + word + "</text>"), 1) << word;
    }
    EXPECT_FALSE(has(svg, "without a stage"));
}

TEST(PlanSvg, tells_step_parts_and_bottleneck) {
    const std::string svg = draw(job_on(two_sites(1)), 2, "stage 1 on osaka-0");

    EXPECT_TRUE(has(svg, "Predicted step 1.00 s, 8 samples/s"));
    EXPECT_TRUE(has(svg, "stage 1 on osaka-0, busy for 50% of the step"));
    EXPECT_TRUE(has(svg, "bubble (waits for stages): 250 ms, 25%"));
}

TEST(PlanSvg, draws_a_fence_between_groups_with_what_it_carries) {
    const Job job = job_on(two_sites(2));

    const std::string svg = draw(job, 4, "stage 0 on lyon-0");

    EXPECT_EQ(count_of(svg, "class=\"link fence\" d="), 2);  // and the legend
    EXPECT_EQ(count_of(svg, ">1 Gbit/s</text>"), 1);
    EXPECT_EQ(count_of(svg, ">10 ms</text>"), 1);
    EXPECT_EQ(count_of(svg, ">a micro-batch</text>"), 1);
}

TEST(PlanSvg, marks_the_bottleneck_only) {
    const Job job = job_on(two_sites(2));

    const std::string stage = draw(job, 4, "stage 2 on osaka-0");
    const std::string link = draw(job, 4, "link lyon-osaka");
    const std::string link_back = draw(job, 4, "link osaka-lyon");
    const std::string elsewhere = draw(job, 4, "link osaka-1 to lyon-0");

    EXPECT_EQ(count_of(stage, "BOTTLENECK"), 1);
    EXPECT_EQ(count_of(stage, "class=\"bar hot\""), 1);
    EXPECT_EQ(count_of(link, "BOTTLENECK"), 1);
    EXPECT_EQ(count_of(link, "class=\"link fence hot-line\""), 1);
    EXPECT_EQ(count_of(link, "class=\"bar hot\""), 0);
    EXPECT_EQ(count_of(link_back, "BOTTLENECK"), 1);
    EXPECT_EQ(count_of(elsewhere, "BOTTLENECK"), 0);
}

TEST(PlanSvg, shows_devices_without_a_stage_by_group) {
    const std::string svg = draw(job_on(two_sites(3)), 2, "stage 0 on lyon-0");

    EXPECT_TRUE(has(svg, ">lyon: 1 of 3</text>"));
    EXPECT_TRUE(has(svg, ">osaka: 3 of 3</text>"));
    EXPECT_TRUE(has(svg, ">osaka-0, osaka-1, osaka-2</text>"));
}

TEST(PlanSvg, says_when_a_group_goes_on_in_the_next_row) {
    const Job job = job_on(two_sites(24));

    EXPECT_FALSE(has(draw(job, 7, "-"), "(continued)"));
    EXPECT_EQ(count_of(draw(job, 48, "-"), "(continued)"), 2);
}

TEST(PlanSvg, escapes_names) {
    const Job job = job_on({{"a<b&\"c>", 2}});

    const std::string svg = draw(job, 1, "stage 0 on a<b&\"c>-0");

    EXPECT_EQ(find_xml_problem(svg), "");
    EXPECT_TRUE(has(svg, ">a&lt;b&amp;&quot;c&gt;</text>"));
    EXPECT_TRUE(has(svg, ">a&lt;b&amp;&quot;c&gt;-0</text>"));
    EXPECT_TRUE(has(svg, "stage 0 on a&lt;b&amp;&quot;c&gt;-0, busy"));
}

TEST(PlanSvg, shortens_long_names_between_characters) {
    EXPECT_EQ(shorten("straße", 6), "straße");
    EXPECT_EQ(shorten("straße-12", 6), "straß…");
    EXPECT_EQ(shorten("ß", 1), "ß");
}

TEST(PlanSvg, is_the_same_text_for_the_same_plan) {
    const Job job = job_on(two_sites(24));

    EXPECT_EQ(draw(job, 25, "stage 3 on lyon-3"),
              draw(job_on(two_sites(24)), 25, "stage 3 on lyon-3"));
}

}  // namespace
}  // namespace fusionllm::test
