#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "fusionllm/comm/shaped_links.hpp"
#include "fusionllm/comm/transport.hpp"

namespace fusionllm {

namespace detail {
struct ShapedState;
}

/*!
 * Delays the messages of another transport as if they crossed the links of a
 * testbed (`ShapedLinks`); their bytes and their order stay what they are.
 *
 * A message travels at once, but its receiver does not see it before it would
 * have come; its sender's request is done when the last byte would have left.
 * Messages of a rank to itself are not delayed.
 *
 * Throws `InputError` from a request once messages come later than they are due
 * (`check_pace`): then the machine, not the testbed, is what is measured.
 */
class ShapedTransport final : public Transport {
public:
    //! \param inner must outlive it; all ranks' are made with the same `links`
    ShapedTransport(Transport& inner, SharedLinks links);
    ~ShapedTransport() override;

    int rank() const override;
    int size() const override;
    Request send(int destination, Channel channel, Buffer message) override;
    Request receive(int source,
                    Channel channel,
                    std::size_t max_bytes) override;
    //! By the links.
    std::uint64_t received_bytes(int source) const override;

    //! Payload that has left this rank for another one so far, by the links.
    double sent_bytes(int destination) const;

private:
    std::shared_ptr<detail::ShapedState> state_;
};

/*!
 * Throws `InputError` if what should have taken `due_s` in all came `late_s`
 * later in all, by more than a tenth and two seconds: what is late, and by how
 * much the testbed has to be slowed.
 */
void check_pace(double due_s, double late_s, const std::string& what);

}  // namespace fusionllm
