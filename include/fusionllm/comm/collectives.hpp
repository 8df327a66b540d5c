#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "fusionllm/comm/transport.hpp"
#include "fusionllm/comm/wait.hpp"

namespace fusionllm {

/*
 * Collectives of the step loop, over any transport, by way of one root: a
 * message from every rank to the root (gather) or back (broadcast); waiting
 * idles (`IdleWait`). Messages on MessageKind::control; `slot` tells apart
 * collectives that may overlap. All ranks call them in the same order.
 */

//! Root: the message of every rank, by rank. Others: empty.
std::vector<std::string> gather(Transport& transport,
                                int root,
                                std::uint32_t slot,
                                std::string message);

//! The same; whoever watches `wait` hears whose message is missing.
std::vector<std::string> gather(Transport& transport,
                                IdleWait& wait,
                                int root,
                                std::uint32_t slot,
                                std::string message);

//! Everybody gets the root's message. The length is not known beforehand.
std::string broadcast(Transport& transport,
                      int root,
                      std::uint32_t slot,
                      std::string message);

//! The same; whoever watches `wait` hears that it waits for the root.
std::string broadcast(Transport& transport,
                      IdleWait& wait,
                      int root,
                      std::uint32_t slot,
                      std::string message);

/*!
 * From one rank to one other, which need not know the length beforehand; both
 * return when it is through.
 */
void send_text(Transport& transport,
               int destination,
               std::uint32_t slot,
               const std::string& message);
std::string receive_text(Transport& transport, int source, std::uint32_t slot);

//! Nobody leaves before everybody came.
void barrier(Transport& transport, std::uint32_t slot);

}  // namespace fusionllm
