#include "bench.h"

#include <sys/resource.h>
#include <sys/utsname.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "error.h"
#include "files.h"
#include "marks.h"

namespace edgekit {
namespace {

template <typename Do>
double milliseconds(Do what) {
    const auto start = std::chrono::steady_clock::now();
    what();
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

// The nearest rank.
double percentile(std::vector<double> values, double share) {
    std::sort(values.begin(), values.end());
    const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(values.size())));
    return values[std::max<std::size_t>(rank, 1) - 1];
}

}  // namespace

Json bench(Model& model, int threads, int warmup, int repeats) {
    const Manifest& manifest = model.bundle().manifest;
    const auto golden = std::find_if(manifest.files.begin(), manifest.files.end(), [](const ListedFile& file) {
        return std::filesystem::path(file.name).filename() == "picture.png";
    });
    if (golden == manifest.files.end()) throw Error("EK409", "The bundle has no golden picture to time.");
    const Picture picture = decode_picture(read_file(model.bundle().path / golden->name), golden->name);

    std::vector<double> before, inference, after;
    Tensor input;
    for (int turn = 0; turn < warmup + repeats; ++turn) {
        Tensors outputs;
        const double first = milliseconds([&] { input = model.input(picture); });
        const double second = milliseconds([&] {
            mark_begin();
            outputs = model.engine().run(input);
            mark_end();
        });
        const double third = milliseconds([&] {
            answer(manifest, outputs, {static_cast<int>(input.shape[2]), static_cast<int>(input.shape[3])}, {picture.height, picture.width});
        });
        if (turn < warmup) continue;
        before.push_back(first);
        inference.push_back(second);
        after.push_back(third);
    }
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    utsname name{};
    uname(&name);
    return {{"bundle", manifest.name},
            {"model", model.role()},
            {"engine", model.engine().version()},
            {"machine", name.machine},
            {"input", input.shape},
            {"threads", threads},
            {"warmup", warmup},
            {"repeats", repeats},
            {"min_ms", percentile(inference, 0)},
            {"median_ms", percentile(inference, 0.5)},
            {"p90_ms", percentile(inference, 0.9)},
            {"preprocess_median_ms", percentile(before, 0.5)},
            {"postprocess_median_ms", percentile(after, 0.5)},
            {"peak_mb", static_cast<double>(usage.ru_maxrss) * 1024 / 1e6}};
}

}  // namespace edgekit
