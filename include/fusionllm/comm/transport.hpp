#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "fusionllm/util/buffer.hpp"
#include "fusionllm/wire/message_kind.hpp"

namespace fusionllm {

/*!
 * Messages of one channel between two ranks arrive in the order they are sent.
 * A boundary value has a slot, so that values never wait for each other.
 */
struct Channel {
    MessageKind kind;
    std::uint32_t slot;  //!< below 2^20

    friend auto operator<=>(const Channel&, const Channel&) = default;
};

namespace detail {
class Operation;
}

/*!
 * A message on its way; owns its buffer and waits for it on destruction.
 *
 * While an exception unwinds it leaks the buffer instead of waiting for a rank
 * that may be gone. Move-only; used by the thread that made it.
 */
class Request {
public:
    explicit Request(std::unique_ptr<detail::Operation> operation);
    Request(Request&&) noexcept;
    Request& operator=(Request&&) noexcept;
    ~Request();

    //! Make progress; true once the message has been sent or received.
    bool test();
    //! What has come of a message that is still on its way, in pieces; 0 where
    //! that is not known.
    std::size_t received_bytes() const;
    //! The message's bytes, cut to what came; requires `test()` was true.
    Buffer take();

private:
    std::unique_ptr<detail::Operation> operation_;
};

/*!
 * Carries bytes between the ranks of a run. All calls are non-blocking and
 * come from one thread a rank. Failures throw `Error`.
 */
class Transport {
public:
    virtual ~Transport() = default;
    virtual int rank() const = 0;
    virtual int size() const = 0;
    //! Start to send the whole buffer.
    virtual Request send(int destination, Channel channel, Buffer message) = 0;
    //! Post a receive of at most `max_bytes`; a longer message is an `Error`.
    virtual Request receive(int source,
                            Channel channel,
                            std::size_t max_bytes) = 0;
    //! Payload that has come from a rank so far, with what has come of
    //! messages that are not complete, as far as that is known.
    virtual std::uint64_t received_bytes(int source) const = 0;
};

namespace detail {

//! The part of a request that its transport implements.
class Operation {
public:
    virtual ~Operation() = default;
    virtual bool test() = 0;
    virtual std::size_t received_bytes() const { return 0; }
    virtual Buffer take() = 0;
    //! Forget the buffer without freeing it: the transport may still use it.
    virtual void leak() = 0;
};

}  // namespace detail
}  // namespace fusionllm
