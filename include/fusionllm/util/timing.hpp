#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace fusionllm {

//! Seconds of a clock that never goes back; only differences mean something.
double monotonic_s();

//! When this process began, on the clock of `monotonic_s`, to about 10 ms: the
//! time that the loader and the libraries took before `main` is part of a run.
double process_begin_s();

//! What a `SectionTimer` knows of one name.
struct Section {
    std::string name;
    double seconds = 0.0;
    std::size_t num_times = 0;

    friend bool operator==(const Section&, const Section&) = default;
};

/*!
 * Seconds per named section of a run: "forward", "backward", "wait", ...
 *
 * A section counts all the time of its scopes, so a scope inside another one
 * is counted in both. One thread uses a timer; `merge` joins those of several.
 */
class SectionTimer {
public:
    //! Adds the time from its construction to its end.
    class [[nodiscard]] Scope {
    public:
        Scope(SectionTimer& timer, std::size_t index);
        Scope(const Scope&) = delete;
        Scope& operator=(const Scope&) = delete;
        ~Scope();

    private:
        SectionTimer& timer_;
        std::size_t index_;
        double begin_s_;
    };

    explicit SectionTimer(std::function<double()> clock = monotonic_s);

    //! The timer must outlive the scope.
    Scope measure(std::string_view name);
    void add(std::string_view name, double seconds);
    void merge(const SectionTimer& other);
    //! In the order in which they were first used.
    const std::vector<Section>& sections() const { return sections_; }

private:
    std::size_t index_of(std::string_view name);

    std::function<double()> clock_;
    std::vector<Section> sections_;
};

}  // namespace fusionllm
