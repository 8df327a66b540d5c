#include <algorithm>
#include <charconv>
#include <map>

#include "fusionllm/plan/plan.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/text.hpp"

namespace fusionllm {
namespace {

std::string quote(const std::string& text) {
    std::string quoted = "\"";
    for (const char c : text) {
        if (c == '\n') {
            quoted += "\\n";
            continue;
        }
        if (c == '"' || c == '\\') {
            quoted += '\\';
        }
        quoted += c;
    }
    return quoted + '"';
}

std::string write_devices(const std::vector<DeviceId>& devices) {
    std::string text = " devices";
    for (const DeviceId device : devices) {
        text += fmt::format(" {}", device.get());
    }
    return text;
}

std::string write_plan(const Plan& plan,
                       const std::vector<std::string>& stage_comments) {
    std::string text =
        "# A stage runs the ops from its first number up to, not including,\n"
        "# its second one. To move a cut, change it in both stages.\n";
    text += fmt::format("graph {:016x}\n", plan.graph_hash);
    text += fmt::format("schedule {}\n", plan.schedule);
    text += fmt::format("micro_batches {}\n", plan.micro_batches);
    if (!plan.in_flight.empty()) {
        text += fmt::format("in_flight {}\n", fmt::join(plan.in_flight, " "));
    }
    if (plan.recompute == Recompute::on) {
        text += "recompute on\n";
    }
    for (const DeviceGroup& group : plan.groups) {
        text += fmt::format(
            "group {}{}\n", quote(group.name), write_devices(group.devices));
    }
    for (std::size_t s = 0; s < plan.placement.stages.size(); ++s) {
        const StagePlacement& stage = plan.placement.stages[s];
        text += fmt::format("stage {} ops {} {}{}{}\n",
                            s,
                            stage.ops.begin,
                            stage.ops.end,
                            write_devices(stage.devices),
                            stage_comments[s]);
    }
    for (const Fence& fence : plan.fences) {
        text += fmt::format("fence {} value {} {}\n",
                            fence.cut,
                            fence.value.get(),
                            to_text(fence.codec));
    }
    return text;
}

//! One line of a plan, word by word; every complaint names file and line.
class PlanLine {
public:
    PlanLine(std::string_view line, std::string where)
        : rest_(trim(line)), where_(std::move(where)) {}

    [[noreturn]] void fail(const std::string& complaint) const {
        throw InputError(fmt::format("{}: {}", where_, complaint));
    }

    bool is_at_end() const { return rest_.empty() || rest_.front() == '#'; }

    std::string word(const std::string& what) {
        if (is_at_end()) {
            fail(fmt::format("the line ends where {} should be", what));
        }
        const std::size_t end =
            std::min(rest_.find_first_of(" \t#"), rest_.size());
        return std::string(take(end));
    }

    void expect(const std::string& keyword) {
        const std::string found = word(fmt::format("'{}'", keyword));
        if (found != keyword) {
            fail(fmt::format("'{}' should be '{}'", found, keyword));
        }
    }

    std::string quoted(const std::string& what) {
        if (rest_.empty() || rest_.front() != '"') {
            fail(fmt::format("{} should be here, in double quotes", what));
        }
        std::string text;
        for (std::size_t i = 1; i < rest_.size(); ++i) {
            if (rest_[i] == '"') {
                take(i + 1);
                return text;
            }
            const bool is_escaped = rest_[i] == '\\' && i + 1 < rest_.size();
            i += is_escaped ? 1 : 0;
            text += is_escaped && rest_[i] == 'n' ? '\n' : rest_[i];
        }
        fail(fmt::format("the quotes of {} are not closed", what));
    }

    template <class T>
    T number(const std::string& what, int base = 10) {
        const std::string found = word(what);
        T value{};
        const char* end = found.data() + found.size();
        const auto result = std::from_chars(found.data(), end, value, base);
        if (result.ec != std::errc{} || result.ptr != end) {
            fail(fmt::format(
                "'{}' should be {}, a number in range", found, what));
        }
        return value;
    }

    std::vector<int> numbers(const std::string& what) {
        std::vector<int> numbers;
        do {
            numbers.push_back(number<int>(what));
        } while (!is_at_end());
        return numbers;
    }

    std::vector<DeviceId> devices() {
        expect("devices");
        std::vector<DeviceId> devices;
        do {
            devices.emplace_back(number<std::uint32_t>("a device's number"));
        } while (!is_at_end());
        return devices;
    }

    void expect_end() const {
        if (!is_at_end()) {
            fail(fmt::format("'{}' is too much on this line", rest_));
        }
    }

private:
    std::string_view take(std::size_t length) {
        const std::string_view taken = rest_.substr(0, length);
        rest_ = trim(rest_.substr(length));
        return taken;
    }

    std::string_view rest_;
    std::string where_;
};

class PlanParser {
public:
    explicit PlanParser(std::string file_name) : file_(std::move(file_name)) {}

    Plan parse(std::string_view text) {
        std::size_t number = 0;
        for (const std::string& line : split(text, '\n')) {
            ++number;
            PlanLine reader(line, fmt::format("{}:{}", file_, number));
            if (!reader.is_at_end()) {
                parse_line(reader, number);
                reader.expect_end();
            }
        }
        for (const char* key : {"graph", "schedule", "micro_batches"}) {
            FUSIONLLM_VALIDATE(line_of_.contains(key),
                               "{}: the plan has no line '{}'; add it, or let "
                               "the plan command write a whole plan",
                               file_,
                               key);
        }
        return plan_;
    }

private:
    void parse_line(PlanLine& line, std::size_t number) {
        const std::string key = line.word("a key");
        if (key == "group") {
            DeviceGroup group;
            group.name = line.quoted("the group's name");
            group.devices = line.devices();
            plan_.groups.push_back(std::move(group));
        } else if (key == "stage") {
            parse_stage(line);
        } else if (key == "fence") {
            parse_fence(line);
        } else {
            parse_setting(key, line, number);
        }
    }

    void parse_setting(const std::string& key,
                       PlanLine& line,
                       std::size_t number) {
        const auto [known, is_new] = line_of_.emplace(key, number);
        if (!is_new) {
            line.fail(fmt::format(
                "'{}' is given a second time, after line {}; remove one",
                key,
                known->second));
        }
        if (key == "graph") {
            plan_.graph_hash =
                line.number<std::uint64_t>("the graph's hexadecimal hash", 16);
        } else if (key == "schedule") {
            parse_schedule(line);
        } else if (key == "micro_batches") {
            plan_.micro_batches = line.number<int>("micro-batches a step");
            if (plan_.micro_batches < 1) {
                line.fail("a step needs at least 1 micro-batch");
            }
        } else if (key == "in_flight") {
            plan_.in_flight = line.numbers("a stage's micro-batches in flight");
        } else if (key == "recompute") {
            parse_recompute(line);
        } else {
            line.fail(fmt::format("a plan has no '{}'{}",
                                  key,
                                  did_you_mean(key,
                                               {"graph",
                                                "schedule",
                                                "micro_batches",
                                                "in_flight",
                                                "recompute",
                                                "group",
                                                "stage",
                                                "fence"})));
        }
    }

    void parse_schedule(PlanLine& line) {
        plan_.schedule = line.word("the schedule's name");
        const auto& names = schedule_names();
        if (std::ranges::find(names, plan_.schedule) == names.end()) {
            line.fail(fmt::format("there is no schedule '{}' (known: {}){}",
                                  plan_.schedule,
                                  fmt::join(names, ", "),
                                  did_you_mean(plan_.schedule, names)));
        }
    }

    void parse_recompute(PlanLine& line) {
        const std::string word = line.word("'on' or 'off'");
        if (word != "on" && word != "off") {
            line.fail(fmt::format("'{}' should be 'on' or 'off'", word));
        }
        plan_.recompute = word == "on" ? Recompute::on : Recompute::off;
    }

    void parse_stage(PlanLine& line) {
        auto& stages = plan_.placement.stages;
        const auto index = line.number<std::size_t>("the stage's number");
        if (index != stages.size()) {
            line.fail(fmt::format(
                "this is stage {}, not {}; stages stand in ascending order, "
                "from 0, without gaps",
                stages.size(),
                index));
        }
        StagePlacement stage;
        line.expect("ops");
        stage.ops.begin = line.number<std::size_t>("the stage's first op");
        stage.ops.end = line.number<std::size_t>("the op after the stage");
        stage.devices = line.devices();
        stages.push_back(std::move(stage));
    }

    void parse_fence(PlanLine& line) {
        Fence fence;
        fence.cut = line.number<std::size_t>("the fence's cut");
        line.expect("value");
        fence.value = ValueId(line.number<std::uint32_t>("a value's number"));
        const std::string codec = line.word("a codec");
        try {
            fence.codec = parse_codec_choice(codec, 1);
        } catch (const InputError& error) {
            line.fail(error.what());
        }
        plan_.fences.push_back(fence);
    }

    std::string file_;
    Plan plan_;
    std::map<std::string, std::size_t> line_of_;
};

}  // namespace

std::string to_text(const Plan& plan) {
    return write_plan(plan,
                      std::vector<std::string>(plan.placement.stages.size()));
}

std::string to_text(const Plan& plan, const OpGraph& graph) {
    std::vector<std::string> comments;
    for (const StagePlacement& stage : plan.placement.stages) {
        const auto& [begin, end] = stage.ops;
        std::string comment;
        if (begin < end && end <= graph.ops().size()) {
            comment = fmt::format("  # {} ... {}",
                                  graph.ops()[begin].name,
                                  graph.ops()[end - 1].name);
        }
        // An op may have any name; a comment ends with its line.
        std::ranges::replace(comment, '\n', ' ');
        comments.push_back(std::move(comment));
    }
    return write_plan(plan, comments);
}

Plan parse_plan(std::string_view text, const std::string& file_name) {
    return PlanParser(file_name).parse(text);
}

}  // namespace fusionllm
