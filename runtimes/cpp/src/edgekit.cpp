#include "edgekit.h"

#include <cstdlib>
#include <cstring>
#include <exception>
#include <utility>

#include "bundle.h"
#include "error.h"
#include "self_test.h"

struct edgekit_model {
    edgekit::Model model;
};

namespace {

constexpr int FAILED = 3, BUG = 1;

void give(char** out, const std::string& text) {
    if (!out) return;
    *out = static_cast<char*>(std::malloc(text.size() + 1));
    if (*out) std::memcpy(*out, text.c_str(), text.size() + 1);
}

std::string dumped(const edgekit::Json& json) { return json.dump(-1, ' ', false, edgekit::Json::error_handler_t::replace); }

// No exception may reach C.
template <typename Do>
int guarded(char** error, Do what) noexcept {
    if (error) *error = nullptr;
    try {
        return what();
    } catch (const edgekit::Error& e) {
        give(error, e.code() + ": " + e.what());
        return e.exit_code();
    } catch (const std::exception& e) {
        give(error, e.what());
        return BUG;
    }
}

edgekit::Picture picture_of(const uint8_t* bgr, int height, int width, size_t stride) {
    if (!bgr || height < 1 || width < 1 || height > edgekit::LONGEST_SIDE || width > edgekit::LONGEST_SIDE ||
        static_cast<std::int64_t>(height) * width > edgekit::MOST_PIXELS || stride < static_cast<size_t>(width) * 3)
        throw edgekit::Error("EK406", "Not a colour picture, or one too large.");
    edgekit::Picture picture(height, width);
    for (int y = 0; y < height; ++y) std::memcpy(picture.row(y), bgr + static_cast<size_t>(y) * stride, picture.stride());
    return picture;
}

}  // namespace

const char* edgekit_version(void) { return EDGEKIT_VERSION; }

int edgekit_open(const char* bundle, const char* kind, int threads, edgekit_model** model, char** error) {
    return guarded(error, [&] {
        auto bundles = edgekit::open_bundle(bundle);
        if (bundles.size() != 1)
            throw edgekit::Error("EK107", std::string(bundle) + " is a combined bundle: open its parts, which are its folders.");
        *model = new edgekit_model{edgekit::Model(std::move(bundles[0]), kind ? kind : "", threads)};
        return 0;
    });
}

void edgekit_close(edgekit_model* model) { delete model; }

int edgekit_run_file(edgekit_model* model, const uint8_t* data, size_t size, char** json, char** error) {
    return guarded(error, [&] {
        give(json, dumped(model->model.answer(edgekit::decode_picture({data, data + size}, "The picture"))));
        return 0;
    });
}

int edgekit_run_pixels(edgekit_model* model, const uint8_t* bgr, int height, int width, size_t stride, char** json, char** error) {
    return guarded(error, [&] {
        give(json, dumped(model->model.answer(picture_of(bgr, height, width, stride))));
        return 0;
    });
}

int edgekit_self_test(const char* bundle, const char* kind, int threads, char** json, char** error) {
    return guarded(error, [&] {
        const auto result = edgekit::self_test(bundle, kind ? kind : "", threads);
        give(json, dumped(result));
        return result["verdict"] == "passed" ? 0 : FAILED;
    });
}

void edgekit_free(char* text) { std::free(text); }
