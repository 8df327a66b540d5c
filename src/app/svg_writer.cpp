#include "app/svg_writer.hpp"

#include <fmt/format.h>

namespace fusionllm {
namespace {

bool begins_character(char c) {
    return (static_cast<unsigned char>(c) & 0xc0U) != 0x80U;
}

std::size_t count_characters(std::string_view text) {
    std::size_t count = 0;
    for (const char c : text) {
        count += begins_character(c) ? 1 : 0;
    }
    return count;
}

}  // namespace

std::string escape_xml(std::string_view text) {
    std::string escaped;
    for (const char c : text) {
        switch (c) {
            case '&':
                escaped += "&amp;";
                break;
            case '<':
                escaped += "&lt;";
                break;
            case '>':
                escaped += "&gt;";
                break;
            case '"':
                escaped += "&quot;";
                break;
            default:
                escaped += static_cast<unsigned char>(c) < 0x20U ? '?' : c;
        }
    }
    return escaped;
}

std::string shorten(std::string_view text, std::size_t max_characters) {
    if (count_characters(text) <= max_characters) {
        return std::string(text);
    }
    std::string shortened;
    std::size_t count = 0;
    for (const char c : text) {
        count += begins_character(c) ? 1 : 0;
        if (count >= max_characters) {
            break;
        }
        shortened += c;
    }
    return shortened + "…";
}

double text_width(std::string_view text, double font_size) {
    return 0.5 * font_size * static_cast<double>(count_characters(text));
}

void SvgWriter::rect(const std::string& css_class, const SvgBox& box) {
    body_ += fmt::format(
        "<rect class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" "
        "height=\"{:.1f}\"/>\n",
        css_class,
        box.x,
        box.y,
        box.width,
        box.height);
}

void SvgWriter::line(const std::string& css_class,
                     SvgPoint from,
                     SvgPoint to,
                     double stroke_width) {
    path(
        css_class,
        fmt::format("M{:.1f} {:.1f}L{:.1f} {:.1f}", from.x, from.y, to.x, to.y),
        stroke_width);
}

void SvgWriter::path(const std::string& css_class,
                     const std::string& points,
                     double stroke_width) {
    body_ +=
        fmt::format("<path class=\"{}\" d=\"{}\" stroke-width=\"{:.1f}\"/>\n",
                    css_class,
                    points,
                    stroke_width);
}

void SvgWriter::arrow_head(const std::string& css_class,
                           SvgPoint tip,
                           double size) {
    body_ += fmt::format(
        "<path class=\"{}\" d=\"M{:.1f} {:.1f}l{:.1f} {:.1f}v"
        "{:.1f}z\"/>\n",
        css_class,
        tip.x,
        tip.y,
        -size,
        -size / 2,
        size);
}

void SvgWriter::text(const std::string& css_class,
                     SvgPoint at,
                     std::string_view words) {
    body_ += fmt::format(
        "<text class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\">{}"
        "</text>\n",
        css_class,
        at.x,
        at.y,
        escape_xml(words));
}

void SvgWriter::begin_group(std::string_view tooltip) {
    body_ += fmt::format("<g>\n<title>{}</title>\n", escape_xml(tooltip));
}

void SvgWriter::end_group() {
    body_ += "</g>\n";
}

std::string SvgWriter::finish(std::string_view title,
                              std::string_view head,
                              double width,
                              double height) const {
    return fmt::format(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" "
        "height=\"{1:.0f}\" viewBox=\"0 0 {0:.0f} {1:.0f}\" "
        "font-family=\"sans-serif\" role=\"img\">\n"
        "<title>{2}</title>\n{3}"
        "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{4}</svg>\n",
        width,
        height,
        escape_xml(title),
        head,
        body_);
}

}  // namespace fusionllm
