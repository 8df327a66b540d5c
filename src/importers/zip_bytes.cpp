#include "zip_bytes.hpp"

#include <zlib.h>

#include "fusionllm/importers/zip_archive.hpp"

namespace fusionllm {

std::uint32_t crc32(std::string_view bytes) {
    return static_cast<std::uint32_t>(::crc32_z(
        0, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()));
}

namespace detail {

std::optional<std::string> inflate(std::string_view packed, std::size_t size) {
    constexpr int without_header = -15;
    z_stream stream{};
    if (inflateInit2(&stream, without_header) != Z_OK) {
        return std::nullopt;
    }
    std::string bytes(size, '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
    stream.avail_in = static_cast<uInt>(packed.size());
    stream.next_out = reinterpret_cast<Bytef*>(bytes.data());
    stream.avail_out = static_cast<uInt>(bytes.size());
    const int result = ::inflate(&stream, Z_FINISH);
    const bool is_good = result == Z_STREAM_END && stream.avail_out == 0;
    inflateEnd(&stream);
    return is_good ? std::optional(std::move(bytes)) : std::nullopt;
}

}  // namespace detail
}  // namespace fusionllm
