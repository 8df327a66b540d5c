#pragma once

#include <cstdint>

namespace fusionllm {

//! What came over a link while it was busy for sure.
struct Arrivals {
    double busy_s = 0;
    std::uint64_t bytes = 0;

    friend bool operator==(const Arrivals&, const Arrivals&) = default;
};

//! How busy a stage saw its links to its neighbours in a step.
struct LinkActivity {
    //! In which messages to the next, and to the previous stage were sent.
    double forward_busy_s = 0;
    double backward_busy_s = 0;
    //! From the previous, and from the next stage.
    Arrivals activations{};
    Arrivals gradients{};

    friend bool operator==(const LinkActivity&, const LinkActivity&) = default;
};

/*!
 * Tells from looks at a receiver how fast its link is: between two looks, of
 * which the first one found a message that had come in part, the link was busy.
 * A sender cannot tell, since the system's buffers take a message at once.
 */
class ArrivalClock {
public:
    //! \param now_s on the clock of `monotonic_s`
    //! \param received_bytes that have come over the link so far
    //! \param is_inside whether a part of a message is there
    void look(double now_s, std::uint64_t received_bytes, bool is_inside) {
        if (was_inside_) {
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
