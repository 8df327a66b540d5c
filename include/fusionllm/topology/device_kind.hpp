#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fusionllm {

//! What devices are differently good at; every op is of one kind.
enum class OpKind : std::uint8_t {
    contraction,    //!< matrix products
    convolution,    //!< also transposed and grouped ones
    attention,      //!< fused: products and softmax in one op
    normalization,  //!< norms, softmax
    elementwise,    //!< arithmetic and activations
    reduction,      //!< sums, pooling, losses
    lookup,         //!< embedding, gather
    copy,           //!< moves bytes: copies, concatenation
    view,           //!< moves nothing
    other,          //!< no row in the cost table
};

inline constexpr std::size_t num_op_kinds = 10;

//! "contraction", as device files spell it.
std::string_view to_text(OpKind kind);
//! Throws `InputError` with the nearest right spelling.
OpKind parse_op_kind(std::string_view text);

//! One op as it was measured on a device; `signature` names target and shapes.
struct MeasuredOp {
    std::string signature;
    double forward_s = 0;
    double backward_s = 0;

    friend bool operator==(const MeasuredOp&, const MeasuredOp&) = default;
};

/*!
 * What one kind of device can do. The default is a core of a present-day
 * server: some 100 Gflop/s in fp32 and 10 GB/s of memory bandwidth.
 *
 * `efficiency` is lambda of algorithms.md: the share of the peak that ops of a
 * kind reach, forward and backward; ops that move bytes reach this share of
 * the memory bandwidth.
 */
struct DeviceKind {
    std::string name = "cpu";
    double flops_per_s = 1e11;    //!< peak, fp32
    double half_flops_per_s = 0;  //!< peak, fp16/bf16; 0 = not known
    double memory_bytes = 0;      //!< 0 = not known, no limit
    //! 0 = not known: bytes are free.
    double memory_bandwidth_bytes_per_s = 1e10;
    int cores = 0;             //!< 0 = not known
    double op_overhead_s = 0;  //!< of each call, either direction
    //! Message bytes encoded or decoded a second (one dense copy); 0 = not
    //! known: one read and one write at the memory bandwidth.
    double copy_bytes_per_s = 0;
    //! Parameter bytes that an AdamW step brings up to date a second, gradient
    //! norm included; 0 = not known: 22 passes at the memory bandwidth.
    double update_bytes_per_s = 0;
    std::array<double, num_op_kinds> forward_efficiency{
        1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    std::array<double, num_op_kinds> backward_efficiency{
        1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    std::vector<MeasuredOp> measured;  //!< wins over the formula

    friend bool operator==(const DeviceKind&, const DeviceKind&) = default;
};

}  // namespace fusionllm
