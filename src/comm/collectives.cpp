#include "fusionllm/comm/collectives.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "fusionllm/comm/wait.hpp"
#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

/*
 * A text travels as a frame of at most 256 bytes (its length, then its start)
 * that the receiver can post for without knowing the length, and a second
 * message with the rest if there is one.
 */
constexpr std::size_t frame_bytes = 256;
constexpr std::size_t length_bytes = 8;
constexpr std::size_t start_bytes = frame_bytes - length_bytes;

Channel control_channel(std::uint32_t slot) {
    return {MessageKind::control, slot};
}

Buffer make_frame(const std::string& text) {
    const std::size_t num_start = std::min(text.size(), start_bytes);
    Buffer frame(length_bytes + num_start);
    for (std::size_t i = 0; i < length_bytes; ++i) {
        frame.data()[i] =
            static_cast<std::byte>(std::uint64_t{text.size()} >> (8 * i));
    }
    std::memcpy(frame.data() + length_bytes, text.data(), num_start);
    return frame;
}

void start_send(Transport& transport,
                int destination,
                std::uint32_t slot,
                const std::string& text,
                std::vector<Request>& requests) {
    const Channel channel = control_channel(slot);
    requests.push_back(transport.send(destination, channel, make_frame(text)));
    if (text.size() > start_bytes) {
        Buffer rest(text.size() - start_bytes);
        std::memcpy(rest.data(), text.data() + start_bytes, rest.size());
        requests.push_back(
            transport.send(destination, channel, std::move(rest)));
    }
}

Request post_frame(Transport& transport, int source, std::uint32_t slot) {
    return transport.receive(source, control_channel(slot), frame_bytes);
}

std::uint64_t read_length(const Buffer& frame, int source) {
    std::uint64_t length = 0;
    for (std::size_t i = 0; i < std::min(length_bytes, frame.size()); ++i) {
        length |= std::to_integer<std::uint64_t>(frame.data()[i]) << (8 * i);
    }
    if (frame.size() < length_bytes ||
        frame.size() - length_bytes !=
            std::min<std::uint64_t>(length, start_bytes)) {
        throw Error(fmt::format(
            "rank {} sent something else than a collective expects ({} bytes "
            "for a text of {}); check that all ranks run the same version of "
            "fusionllm",
            source,
            frame.size(),
            length));
    }
    return length;
}

std::string finish_receive(Transport& transport,
                           IdleWait& idle_wait,
                           int source,
                           std::uint32_t slot,
                           Request posted) {
    const Awaited awaited{MessageKind::control, 0, source};
    wait(posted, idle_wait, awaited);
    const Buffer frame = posted.take();
    const std::uint64_t length = read_length(frame, source);
    std::string text(reinterpret_cast<const char*>(frame.data()) + length_bytes,
                     frame.size() - length_bytes);
    if (length > start_bytes) {
        Request request = transport.receive(
            source, control_channel(slot), length - start_bytes);
        wait(request, idle_wait, awaited);
        const Buffer rest = request.take();
        text.append(reinterpret_cast<const char*>(rest.data()), rest.size());
    }
    return text;
}

void wait_all(std::vector<Request>& requests) {
    for (Request& request : requests) {
        wait(request);
    }
}

}  // namespace

std::vector<std::string> gather(Transport& transport,
                                int root,
                                std::uint32_t slot,
                                std::string message) {
    IdleWait idle_wait;
    return gather(transport, idle_wait, root, slot, std::move(message));
}

std::vector<std::string> gather(Transport& transport,
                                IdleWait& idle_wait,
                                int root,
                                std::uint32_t slot,
                                std::string message) {
    std::vector<Request> requests;
    if (transport.rank() != root) {
        start_send(transport, root, slot, message, requests);
        wait_all(requests);
        return {};
    }
    std::vector<int> sources;
    for (int rank = 0; rank < transport.size(); ++rank) {
        if (rank != root) {
            sources.push_back(rank);
            requests.push_back(post_frame(transport, rank, slot));
        }
    }
    std::vector<std::string> messages(transport.size());
    messages[root] = std::move(message);
    for (std::size_t i = 0; i < sources.size(); ++i) {
        messages[sources[i]] = finish_receive(
            transport, idle_wait, sources[i], slot, std::move(requests[i]));
    }
    return messages;
}

std::string broadcast(Transport& transport,
                      int root,
                      std::uint32_t slot,
                      std::string message) {
    IdleWait idle_wait;
    return broadcast(transport, idle_wait, root, slot, std::move(message));
}

std::string broadcast(Transport& transport,
                      IdleWait& idle_wait,
                      int root,
                      std::uint32_t slot,
                      std::string message) {
    if (transport.rank() != root) {
        return finish_receive(transport,
                              idle_wait,
                              root,
                              slot,
                              post_frame(transport, root, slot));
    }
    std::vector<Request> requests;
    for (int rank = 0; rank < transport.size(); ++rank) {
        if (rank != root) {
            start_send(transport, rank, slot, message, requests);
        }
    }
    wait_all(requests);
    return message;
}

void send_text(Transport& transport,
               int destination,
               std::uint32_t slot,
               const std::string& message) {
    std::vector<Request> requests;
    start_send(transport, destination, slot, message, requests);
    wait_all(requests);
}

std::string receive_text(Transport& transport, int source, std::uint32_t slot) {
    IdleWait idle_wait;
    return finish_receive(transport,
                          idle_wait,
                          source,
                          slot,
                          post_frame(transport, source, slot));
}

void barrier(Transport& transport, std::uint32_t slot) {
    constexpr int root = 0;
    gather(transport, root, slot, {});
    broadcast(transport, root, slot, {});
}

}  // namespace fusionllm
