#include "fusionllm/util/timing.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

namespace fusionllm {

double monotonic_s() {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double>(now).count();
}

SectionTimer::Scope::Scope(SectionTimer& timer, std::size_t index)
    : timer_(timer), index_(index), begin_s_(timer.clock_()) {}

SectionTimer::Scope::~Scope() {
    Section& section = timer_.sections_[index_];
    section.seconds += timer_.clock_() - begin_s_;
    ++section.num_times;
}

SectionTimer::SectionTimer(std::function<double()> clock)
    : clock_(std::move(clock)) {}

SectionTimer::Scope SectionTimer::measure(std::string_view name) {
    return {*this, index_of(name)};
}

void SectionTimer::add(std::string_view name, double seconds) {
    Section& section = sections_[index_of(name)];
    section.seconds += seconds;
    ++section.num_times;
}

void SectionTimer::merge(const SectionTimer& other) {
    for (const Section& theirs : other.sections_) {
        Section& ours = sections_[index_of(theirs.name)];
        ours.seconds += theirs.seconds;
        ours.num_times += theirs.num_times;
    }
}

std::size_t SectionTimer::index_of(std::string_view name) {
    const auto found =
        std::find_if(sections_.begin(), sections_.end(), [&](const Section& s) {
            return s.name == name;
        });
    const auto index =
        static_cast<std::size_t>(std::distance(sections_.begin(), found));
    if (found == sections_.end()) {
        sections_.push_back({std::string(name), 0.0, 0});
    }
    return index;
}

}  // namespace fusionllm
