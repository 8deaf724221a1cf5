#pragma once

#include "bundle.h"

namespace edgekit {

// Times `repeats` inferences of a golden picture's input after `warmup` ones:
// {"bundle", "model", "engine", "machine", "input", "threads", "warmup", "repeats", "min_ms", "median_ms", "p90_ms",
// "preprocess_median_ms", "postprocess_median_ms", "peak_mb"}. Percentiles are the nearest rank; peak_mb is the
// process's largest resident memory in 10^6 bytes, the library and the loaded network included.
// Raises EK409 when the bundle has no golden vectors.
Json bench(Model& model, int threads, int warmup, int repeats);

}  // namespace edgekit
