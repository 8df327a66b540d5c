#pragma once

#include <cstdint>

namespace fusionllm {

//! What came over a link while it was busy for sure.
struct Arrivals {
    double busy_s = 0;
    std::uint64_t bytes = 0;

    friend bool operator==(const Arrivals&, const Arrivals&) = default;
};

//! What a stage saw of the links to it in a step.
struct LinkActivity {
    Arrivals activations{};  //!< from the previous stage
    Arrivals gradients{};    //!< from the next one

    friend bool operator==(const LinkActivity&, const LinkActivity&) = default;
};

/*!
 * Tells from looks at a receiver how fast its link is: between two looks that
 * found a part of a message, the link was busy. When the rest of a message is
 * there, it may have been for long: the core that looks had other things to do.
 * A sender cannot tell, since the system's buffers take a message at once.
 */
class ArrivalClock {
public:
    //! \param now_s on the clock of `monotonic_s`
    //! \param received_bytes that have come over the link so far
    //! \param is_inside whether a part of a message is there
    void look(double now_s, std::uint64_t received_bytes, bool is_inside) {
        if (was_inside_ && is_inside) {
            arrivals_.busy_s += now_s - last_s_;
            arrivals_.bytes += received_bytes - last_bytes_;
        }
        last_s_ = now_s;
        last_bytes_ = received_bytes;
        was_inside_ = is_inside;
    }
    //! Since the last call.
    Arrivals take() {
        const Arrivals taken = arrivals_;
        arrivals_ = {};
        was_inside_ = false;
        return taken;
    }

private:
    Arrivals arrivals_;
    bool was_inside_ = false;
    double last_s_ = 0;
    std::uint64_t last_bytes_ = 0;
};

}  // namespace fusionllm
