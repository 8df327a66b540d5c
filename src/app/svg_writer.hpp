#pragma once

#include <string>
#include <string_view>

namespace fusionllm {

//! In pixels, y downwards.
struct SvgPoint {
    double x = 0;
    double y = 0;
};

//! In pixels, from its upper left corner.
struct SvgBox {
    double x = 0;
    double y = 0;
    double width = 0;
    double height = 0;

    double right() const { return x + width; }
    double bottom() const { return y + height; }
    double middle_x() const { return x + width / 2; }
    double middle_y() const { return y + height / 2; }
};

//! As XML wants text and attributes; control characters, which it forbids,
//! become question marks.
std::string escape_xml(std::string_view text);

//! At most so many characters (UTF-8), the last one "…" if some are missing.
std::string shorten(std::string_view text, std::size_t max_characters);

//! About how wide a text in a sans-serif font is.
double text_width(std::string_view text, double font_size);

/*!
 * The elements of a picture, drawn one over the other, as text. What an element
 * looks like is said by its class, of the style that `finish` is given.
 */
class SvgWriter {
public:
    void rect(const std::string& css_class, const SvgBox& box);
    void line(const std::string& css_class,
              SvgPoint from,
              SvgPoint to,
              double stroke_width);
    //! \param points "M0 0H10V20", as SVG writes it
    void path(const std::string& css_class,
              const std::string& points,
              double stroke_width);
    //! A triangle that points to the right, with its tip there.
    void arrow_head(const std::string& css_class, SvgPoint tip, double size);
    //! `at` is the left end, middle or right end of its base line, as the class
    //! says.
    void text(const std::string& css_class,
              SvgPoint at,
              std::string_view words);
    //! What is drawn until `end_group` tells `tooltip` when it is pointed at.
    void begin_group(std::string_view tooltip);
    void end_group();

    //! The whole file: `title` for readers of screens, `head` for the style and
    //! definitions.
    std::string finish(std::string_view title,
                       std::string_view head,
                       double width,
                       double height) const;

private:
    std::string body_;
};

}  // namespace fusionllm
