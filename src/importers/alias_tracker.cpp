#include "alias_tracker.hpp"

#include <algorithm>

#include "fusionllm/util/error.hpp"

namespace fusionllm::detail {
namespace {

bool have_common(const std::set<int>& some, const std::set<int>& others) {
    return std::ranges::any_of(
        some, [&](int place) { return others.contains(place); });
}

//! Whether the next step would see a change.
bool is_kept(ExportedInput::Kind kind) {
    return kind == ExportedInput::Kind::parameter ||
           kind == ExportedInput::Kind::buffer;
}

}  // namespace

std::vector<std::string> read_tensors(const ExportedNode& node) {
    std::vector<std::string> names;
    for (const NamedArgument& input : node.inputs) {
        if (const auto* one = std::get_if<TensorName>(&input.value)) {
            names.push_back(one->name);
        }
        if (const auto* many =
                std::get_if<std::vector<std::optional<std::string>>>(
                    &input.value)) {
            for (const auto& name : *many) {
                if (name) {
                    names.push_back(*name);
                }
            }
        }
    }
    return names;
}

bool is_constant(const ExportedProgram& program, const std::string& tensor) {
    return std::ranges::any_of(program.nodes, [&](const ExportedNode& node) {
        return node.target.starts_with("torch.ops.aten.lift_fresh") &&
               std::ranges::find(node.outputs, tensor) != node.outputs.end();
    });
}

std::vector<std::string> unused_inputs(const ExportedProgram& program) {
    std::set<std::string> read;
    for (const ExportedNode& node : program.nodes) {
        for (const std::string& name : read_tensors(node)) {
            read.insert(name);
        }
    }
    std::vector<std::string> unused;
    for (const ExportedInput& input : program.inputs) {
        if (input.kind == ExportedInput::Kind::user &&
            !read.contains(input.value)) {
            unused.push_back(input.value);
        }
    }
    return unused;
}

void AliasTracker::add(const OperatorMemory& memory) {
    std::map<std::string, std::set<int>> parts;
    for (const auto& [given, result] : memory.shared) {
        std::set<int>& places = places_[given];
        if (places.empty()) {
            places.insert(next_++);
        }
        if (memory.is_divided) {
            parts[given].insert(next_);
            places_[result].insert(next_++);
        } else {
            places_[result].insert(places.begin(), places.end());
        }
    }
    // All that shares memory with the whole has the places of its parts.
    for (const auto& [whole, places] : parts) {
        const std::set<int> own = places_.at(whole);
        for (auto& [name, others] : places_) {
            if (have_common(own, others)) {
                others.insert(places.begin(), places.end());
            }
        }
    }
}

bool AliasTracker::is_shared(const std::string& one,
                             const std::string& other) const {
    const auto places = places_.find(one);
    const auto others = places_.find(other);
    return places != places_.end() && others != places_.end() &&
           have_common(places->second, others->second);
}

void AliasTracker::check_change(const ExportedProgram& program,
                                std::size_t position,
                                const std::string& tensor,
                                const std::string& where) const {
    const auto is_seen = [&](const std::string& name) {
        return name != tensor && is_shared(name, tensor);
    };
    const auto refuse = [&](const std::string& name, const std::string& by) {
        throw InputError(fmt::format(
            "{} changes '{}' in place{}, and '{}' may be a view of the "
            "same memory that {} later; write the model so that it "
            "makes a new tensor there",
            program.nodes[position].target,
            tensor,
            where,
            name,
            by));
    };
    for (std::size_t i = position + 1; i < program.nodes.size(); ++i) {
        for (const std::string& name : read_tensors(program.nodes[i])) {
            if (is_seen(name)) {
                refuse(name, program.nodes[i].target + " reads");
            }
        }
    }
    for (const ExportedInput& input : program.inputs) {
        FUSIONLLM_VALIDATE(
            !is_kept(input.kind) || !is_seen(input.value),
            "{} changes '{}' in place{}, which may be a view of the "
            "model's parameter or buffer '{}'; write the model so that it "
            "makes a new tensor there",
            program.nodes[position].target,
            tensor,
            where,
            input.name);
    }
    for (const ExportedOutput& output : program.outputs) {
        if (output.kind != ExportedOutput::Kind::mutation &&
            is_seen(output.value)) {
            refuse(output.value, "the model gives back");
        }
    }
}

}  // namespace fusionllm::detail
