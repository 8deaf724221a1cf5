#include "picture.h"

#include <jpeglib.h>
#include <png.h>

#include <algorithm>
#include <cmath>
#include <csetjmp>
#include <cstring>

#include "error.h"

namespace edgekit {
namespace {

using Bytes = std::vector<std::uint8_t>;

Error unreadable(const std::string& name, const std::string& why) {
    return Error("EK406", name + " is not a picture that can be read: " + why + ".");
}

void check_size(std::uint64_t width, std::uint64_t height, const std::string& name) {
    if (width == 0 || height == 0) throw unreadable(name, "it has no pixels");
    if (std::max(width, height) > LONGEST_SIDE || width * height > static_cast<std::uint64_t>(MOST_PIXELS))
        throw Error("EK406", name + " is a picture of " + std::to_string(width) + " x " + std::to_string(height) +
                                 " pixels: at most " + std::to_string(LONGEST_SIDE) + " a side and " +
                                 std::to_string(MOST_PIXELS / 1'000'000) + " million in all are read.");
}

// The tag "orientation" (1 to 8) of a TIFF structure as EXIF holds it; 1 where there is none.
int orientation_of(const std::uint8_t* tiff, std::size_t size) {
    if (size < 8) return 1;
    const bool big = tiff[0] == 'M';
    if (std::memcmp(tiff, big ? "MM\0*" : "II*\0", 4) != 0) return 1;
    const auto read = [&](std::size_t at, int bytes) {
        std::size_t value = 0;
        for (int i = 0; i < bytes; ++i)
            value |= static_cast<std::size_t>(tiff[at + static_cast<std::size_t>(i)]) << 8 * (big ? bytes - 1 - i : i);
        return value;
    };
    const std::size_t directory = read(4, 4);
    if (directory > size - 2) return 1;
    const std::size_t entries = read(directory, 2);
    for (std::size_t k = 0; k < entries; ++k) {
        const std::size_t at = directory + 2 + 12 * k;
        if (at + 12 > size) return 1;
        if (read(at, 2) == 0x0112) {
            const std::size_t value = read(at + 8, 2);
            return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
        }
    }
    return 1;
}

// EXIF's orientation says where the first row and column of the file are; 5 to 8 have sides exchanged.
Picture upright(Picture picture, int orientation) {
    if (orientation == 1) return picture;
    const bool exchanged = orientation >= 5;
    const bool from_below = orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;
    const bool from_right = orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7;
    Picture out(exchanged ? picture.width : picture.height, exchanged ? picture.height : picture.width);
    for (int y = 0; y < out.height; ++y)
        for (int x = 0; x < out.width; ++x) {
            const int v = from_below ? out.height - 1 - y : y, u = from_right ? out.width - 1 - x : x;
            const std::uint8_t* pixel = exchanged ? picture.row(u) + 3 * v : picture.row(v) + 3 * u;
            std::copy_n(pixel, 3, out.row(y) + 3 * x);
        }
    return out;
}

// ---- PNG. libpng leaves by longjmp: no object with a destructor may be made between setjmp and it.

struct PngSource {
    const std::uint8_t* at;
    std::size_t left;
    char message[200];
};

void png_take(png_structp png, png_bytep out, size_t size) {
    auto* source = static_cast<PngSource*>(png_get_io_ptr(png));
    if (size > source->left) png_error(png, "it is cut off");
    std::memcpy(out, source->at, size);
    source->at += size;
    source->left -= size;
}

void png_failed(png_structp png, png_const_charp why) {
    auto* source = static_cast<PngSource*>(png_get_error_ptr(png));
    std::strncpy(source->message, why, sizeof source->message - 1);
    std::longjmp(png_jmpbuf(png), 1);
}

void png_warned(png_structp, png_const_charp) {}

struct PngHeader {
    png_uint_32 width, height;
    int depth, channels, orientation;
    bool has_alpha;
};

// Reads up to the first row; rows will have `channels` of `depth` bits, blue first. False on an error.
bool png_open(png_structp png, png_infop info, PngHeader* header) {
    if (setjmp(png_jmpbuf(png))) return false;
    png_read_info(png, info);
    const int type = png_get_color_type(png, info);
    header->width = png_get_image_width(png, info);
    header->height = png_get_image_height(png, info);
    png_set_expand_gray_1_2_4_to_8(png);
    png_set_gray_to_rgb(png);
    png_set_bgr(png);
    header->has_alpha = (type & PNG_COLOR_MASK_ALPHA) != 0;
    if (type == PNG_COLOR_TYPE_PALETTE) {
        png_set_palette_to_rgb(png);
        header->has_alpha = png_get_valid(png, info, PNG_INFO_tRNS) != 0;
    }
    png_set_interlace_handling(png);
    png_read_update_info(png, info);
    header->depth = png_get_bit_depth(png, info);
    header->channels = png_get_channels(png, info);
    header->orientation = 1;
    png_bytep exif = nullptr;
    png_uint_32 size = 0;
    if (png_get_eXIf_1(png, info, &size, &exif)) header->orientation = orientation_of(exif, size);
    return true;
}

bool png_rows(png_structp png, png_bytepp rows) {
    if (setjmp(png_jmpbuf(png))) return false;
    png_read_image(png, rows);
    return true;
}

Picture decode_png(const Bytes& data, const std::string& name) {
    PngSource source{data.data(), data.size(), ""};
    struct Reader {
        png_structp png;
        png_infop info = nullptr;
        ~Reader() { png_destroy_read_struct(&png, &info, nullptr); }
    } reader{png_create_read_struct(PNG_LIBPNG_VER_STRING, &source, png_failed, png_warned)};
    if (reader.png) reader.info = png_create_info_struct(reader.png);
    if (!reader.info) throw std::bad_alloc();
    png_set_read_fn(reader.png, &source, png_take);
    PngHeader header{};
    if (!png_open(reader.png, reader.info, &header)) throw unreadable(name, source.message);
    check_size(header.width, header.height, name);
    if (header.channels < 3 || (header.depth != 8 && header.depth != 16))
        throw unreadable(name, "its kind of PNG is unknown");

    const auto height = static_cast<int>(header.height), width = static_cast<int>(header.width);
    const std::size_t stride = png_get_rowbytes(reader.png, reader.info);
    Bytes pixels(stride * header.height);
    std::vector<png_bytep> rows(header.height);
    for (std::size_t y = 0; y < rows.size(); ++y) rows[y] = pixels.data() + y * stride;
    if (!png_rows(reader.png, rows.data())) throw unreadable(name, source.message);

    Picture picture(height, width);
    const int bytes = header.depth / 8, step = header.channels * bytes;
    for (int y = 0; y < height; ++y)
        for (int x = 0; x < width; ++x) {
            const std::uint8_t* in = rows[static_cast<std::size_t>(y)] + x * step;
            std::uint8_t* out = picture.row(y) + 3 * x;
            for (int c = 0; c < 3; ++c) out[c] = in[c * bytes];  // of 16 bits the upper 8
            if (!header.has_alpha) continue;
            const std::uint8_t* a = in + 3 * bytes;
            const float alpha = bytes == 1 ? static_cast<float>(a[0]) / 255.0F
                                           : static_cast<float>(a[0] << 8 | a[1]) / 65535.0F;
            for (int c = 0; c < 3; ++c)
                out[c] = static_cast<std::uint8_t>(
                    std::nearbyint(static_cast<float>(out[c]) * alpha + 255.0F * (1.0F - alpha)));
        }
    return upright(std::move(picture), header.orientation);
}

// ---- JPEG, likewise

struct JpegErrors {
    jpeg_error_mgr manager;
    std::jmp_buf back;
    char message[JMSG_LENGTH_MAX];
};

void jpeg_failed(j_common_ptr jpeg) {
    auto* errors = reinterpret_cast<JpegErrors*>(jpeg->err);
    jpeg->err->format_message(jpeg, errors->message);
    std::longjmp(errors->back, 1);
}

void jpeg_silent(j_common_ptr) {}

bool jpeg_open(jpeg_decompress_struct* jpeg, JpegErrors* errors, const Bytes* data) {
    if (setjmp(errors->back)) return false;
    jpeg_create_decompress(jpeg);
    jpeg_mem_src(jpeg, data->data(), static_cast<unsigned long>(data->size()));
    jpeg_save_markers(jpeg, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(jpeg, TRUE);
    // The size of the output is known before decoding starts.
    jpeg->out_color_space = jpeg->num_components == 4 ? JCS_CMYK : JCS_EXT_BGR;
    jpeg_calc_output_dimensions(jpeg);
    return true;
}

bool jpeg_rows(jpeg_decompress_struct* jpeg, JpegErrors* errors, std::uint8_t* out, std::size_t stride) {
    if (setjmp(errors->back)) return false;
    jpeg_start_decompress(jpeg);
    while (jpeg->output_scanline < jpeg->output_height) {
        JSAMPROW row = out + stride * jpeg->output_scanline;
        jpeg_read_scanlines(jpeg, &row, 1);
    }
    return true;
}

Picture decode_jpeg(const Bytes& data, const std::string& name) {
    JpegErrors errors{};
    struct Reader {
        jpeg_decompress_struct jpeg{};
        ~Reader() { jpeg_destroy_decompress(&jpeg); }
    } reader;
    auto& jpeg = reader.jpeg;
    jpeg.err = jpeg_std_error(&errors.manager);
    errors.manager.error_exit = jpeg_failed;
    errors.manager.output_message = jpeg_silent;
    if (!jpeg_open(&jpeg, &errors, &data)) throw unreadable(name, errors.message);
    check_size(jpeg.output_width, jpeg.output_height, name);

    Picture picture(static_cast<int>(jpeg.output_height), static_cast<int>(jpeg.output_width));
    if (jpeg.num_components == 4) {
        const std::size_t stride = static_cast<std::size_t>(picture.width) * 4;
        Bytes cmyk(stride * jpeg.output_height);
        if (!jpeg_rows(&jpeg, &errors, cmyk.data(), stride)) throw unreadable(name, errors.message);
        // Adobe's inverted CMYK, mixed as OpenCV does.
        for (std::size_t i = 0; i < cmyk.size() / 4; ++i)
            for (std::size_t c = 0; c < 3; ++c) {
                const int ink = cmyk[4 * i + c], black = cmyk[4 * i + 3];
                picture.pixels[3 * i + 2 - c] = static_cast<std::uint8_t>(black - ((255 - ink) * black >> 8));
            }
    } else if (!jpeg_rows(&jpeg, &errors, picture.pixels.data(), picture.stride())) {
        throw unreadable(name, errors.message);
    }
    int orientation = 1;
    constexpr char EXIF[] = "Exif\0";  // and the NUL that ends it
    for (auto* marker = jpeg.marker_list; marker; marker = marker->next)
        if (marker->data_length > sizeof EXIF && std::memcmp(marker->data, EXIF, sizeof EXIF) == 0) {
            orientation = orientation_of(marker->data + sizeof EXIF, marker->data_length - sizeof EXIF);
            break;
        }
    return upright(std::move(picture), orientation);
}

}  // namespace

Picture decode_picture(const Bytes& data, const std::string& name) {
    constexpr std::uint8_t PNG[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    if (data.size() > sizeof PNG && std::memcmp(data.data(), PNG, sizeof PNG) == 0) return decode_png(data, name);
    if (data.size() > 3 && data[0] == 0xff && data[1] == 0xd8) return decode_jpeg(data, name);
    throw unreadable(name, "it is neither PNG nor JPEG");
}

}  // namespace edgekit
