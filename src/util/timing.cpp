#include "fusionllm/util/timing.hpp"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>

#include <time.h>
#include <unistd.h>

namespace fusionllm {

double monotonic_s() {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double>(now).count();
}

double process_begin_s() {
    // Field 22 of /proc/self/stat, counted behind the name, which may hold
    // spaces: clock ticks after boot.
    std::ifstream file("/proc/self/stat");
    std::string text;
    std::getline(file, text);
    std::istringstream fields(text.substr(text.rfind(')') + 1));
    std::string field;
    for (int i = 3; i <= 22; ++i) {
        fields >> field;
    }
    timespec since_boot{};
    clock_gettime(CLOCK_BOOTTIME, &since_boot);
    const double now_s = static_cast<double>(since_boot.tv_sec) +
                         1e-9 * static_cast<double>(since_boot.tv_nsec);
    const double begin_s =
        std::stod(field) / static_cast<double>(sysconf(_SC_CLK_TCK));
    return monotonic_s() - (now_s - begin_s);
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
