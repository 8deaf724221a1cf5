"""Reports that nothing was measured for, with figures that are easily checked."""

from __future__ import annotations

import copy

REPORT = {
    "name": "picodet_s",
    "recipe": "picodet_s",
    "preset": "kl",
    "edgekit_version": "0.1.0",
    "commit": "0123456789ab",
    "host": "a CPU, 2 cores, AVX2",
    "created": "2026-01-02T03:04:05+00:00",
    "task": "detection",
    "verdict": "failed",
    "default": "int8.onnx",
    "gates": [
        {
            "metric": "agreement_ap",
            "target": "int8.onnx",
            "bound": ">= 0.95",
            "measured": 0.93761234,
            "passed": False,
            "note": "",
        },
        {
            "metric": "cosine",
            "target": "int8.onnx",
            "bound": ">= 0.99",
            "measured": 0.99996,
            "passed": True,
            "note": "",
        },
        {
            "metric": "speedup",
            "target": "int8.onnx",
            "bound": ">= 1",
            "measured": None,
            "passed": True,
            "note": "no VNNI",
        },
        {
            "metric": "same_class",
            "target": "int8.nb",
            "bound": ">= 0.9",
            "measured": None,
            "passed": False,
            "note": "no boxes",
        },
    ],
    "metrics": {
        "int8.onnx": {"agreement_ap": 0.93761234, "agreement_n": 412, "sqnr_db": 23.4567, "size_ratio": 0.3},
        "fp32.nb(x86)": {"agreement_ap": 1.0, "max_abs_diff": 1.2345e-6, "sqnr_db": None},
    },
    "outputs": [
        {
            "target": "int8.onnx",
            "output": "concat_4.tmp_0",
            "cosine": 0.998,
            "sqnr_db": 23.4567,
            "max_abs_diff": 0.31,
            "values": 287840,
        },
    ],
    "files": [
        {"name": "p.fp32.onnx", "role": "fp32.onnx", "bytes": 4_400_000, "sha256": "a" * 64},
        {"name": "p.int8.onnx", "role": "int8.onnx", "bytes": 1_320_000, "sha256": "b" * 64},
        {"name": "labels.txt", "role": "labels", "bytes": 700, "sha256": "c" * 64},
    ],
    "latency": {
        "engine": "ONNX Runtime 1.23.2",
        "threads": 1,
        "runs": 50,
        "original_ms": None,
        "float_ms": 20.5,
        "int8_ms": 8.2,
        "speedup": 2.5,
        "cpu": "a CPU",
        "vnni": True,
        "slow_int8": False,
    },
    "model": {
        "params": 1_130_000,
        "macs": 480_000_000,
        "params_before": None,
        "macs_before": None,
        "int8_macs_share": 0.971,
        "layers_total": 2,
        "layers_int8": 1,
    },
    "layers": [
        {
            "name": "conv_1",
            "type": "conv2d",
            "macs": 1000,
            "params": 10,
            "int8": True,
            "only": None,
            "reason": "",
        },
        {
            "name": "conv_2",
            "type": "conv2d",
            "macs": 2000,
            "params": 20,
            "int8": False,
            "only": None,
            "reason": "error too large",
        },
    ],
    "analysis": None,
    "tensors_only": {"int8.onnx": ["add_3.tmp_0"], "int8.nb": []},
    "stages": [
        {"name": "quantize", "seconds": 12.5, "cached": True, "key": "k1k1", "summary": "KL on 32 pictures"}
    ],
    "data": {
        "calibration": {
            "name": "synthetic",
            "n": 32,
            "digest": "d1d1",
            "origin": "rendered",
            "kind": "rendered_lines",
            "seed": 0,
        },
        "evaluation": None,
    },
    "intervals": {
        "int8.onnx": {
            "agreement_ap": {"low": 0.91, "high": 0.96, "level": 0.95, "n": 200, "method": "bootstrap"}
        }
    },
    "not_executed": ["int8.nb: converted; kernels all INT8; not executed here"],
    "versions": {"paddlepaddle": "2.6.2"},
    "seed": 7,
    "notes": ["a note"],
}


LAYER = {
    "name": "conv_2",
    "type": "depthwise_conv2d",
    "macs": 2000,
    "int8": False,
    "error": 0.61512345,
    "sqnr_input": 21.3456,
    "sqnr_weight": None,
    "sqnr_output": 4.5678,
    "from_input": None,
    "threshold": 127.0,
    "maximum": 254.0,
    "evened": True,
    "clipped": 0.0,
    "clipping": 0.0,
    "zeroed": 0.1,
    "channels": {"count": 4, "alive": 3, "largest": 254.0, "median": 8.0, "few": 2, "spared": 0.9},
    "weights_zeroed": 0.0,
    "silent": 0,
    "sentence": "The largest channel it reads is 31.75 times the median.",
    "histogram": [7, 1, 0, 0],
    "ranges": [0.0, 0.5, 254.0, 11.2694277],
}

ANALYSIS = {
    "schema_version": 1,
    "name": "picodet_s",
    "task": "detection",
    "state": "kl + equalise",
    "edgekit_version": "0.1.0",
    "pictures": 16,
    "macs": 10_000,
    "layers": [
        LAYER,
        LAYER
        | {"name": "conv_1", "type": "conv2d", "macs": 1000, "int8": True, "error": 1e-5, "sqnr_weight": 40.5}
        | {"sentence": "Nothing.", "histogram": None, "ranges": None},
    ],
    "floats": [{"name": "fc_0", "macs": 500, "reason": "a small matmul"}],
    "confirmation": {
        "metric": "agreement_ap",
        "pictures": 32,
        "names": ["conv_2"],
        "error": 0.707,
        "agreement": 0.061,
        "error_without": 0.278,
        "agreement_without": None,
        "alone": {"conv_2": 0.068},
    },
}

# One grey pixel, as OpenCV writes it.
JPEG = (
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAP//////////////////////////////////////////////////////////////"
    "////////////////////////wAALCAABAAEBAREA/8QAHwAAAQUBAQEBAQEAAAAAAAAAAAECAwQFBgcICQoL/8QAtRAAAgED"
    "AwIEAwUFBAQAAAF9AQIDAAQRBRIhMUEGE1FhByJxFDKBkaEII0KxwRVS0fAkM2JyggkKFhcYGRolJicoKSo0NTY3ODk6Q0RF"
    "RkdISUpTVFVWV1hZWmNkZWZnaGlqc3R1dnd4eXqDhIWGh4iJipKTlJWWl5iZmqKjpKWmp6ipqrKztLW2t7i5usLDxMXGx8jJ"
    "ytLT1NXW19jZ2uHi4+Tl5ufo6erx8vP09fb3+Pn6/9oACAEBAAA/ACv/2Q=="
)

BOX = [[2.0, 3.0], [9.0, 3.0], [9.0, 8.0], [2.0, 8.0]]


def _full():
    """A pruned, quantized and trained detector with all that a report can hold."""
    report = copy.deepcopy(REPORT) | {"verdict": "passed", "preset": "full", "analysis": ANALYSIS}
    report["gates"] = [
        {
            "metric": "ap_drop", "target": "int8.onnx", "bound": "<= 0.03", "measured": 0.02, "passed": True,
            "note": "",
        },
        {
            "metric": "size_ratio", "target": "int8.onnx", "bound": "<= 0.4", "measured": 0.24,
            "passed": True, "note": "",
        },
    ]  # fmt: skip
    report["metrics"] = {
        "original": {"ap": 0.5, "n": 200},
        "fp32.paddle": {"ap": 0.49, "ap_drop": 0.01, "agreement_ap": 0.97, "n": 200},
        "fp32.onnx": {"ap": 0.49, "agreement_ap": 0.97, "size_ratio": 0.8, "n": 200},
        "int8.onnx": {"ap": 0.48, "ap_drop": 0.02, "agreement_ap": 0.93761234, "size_ratio": 0.24, "n": 200},
        "int8.nb": {"size_ratio": 0.25},
    }
    report["files"] += [
        {"name": "p.fp32.nb", "role": "fp32.nb", "bytes": 4_800_000, "sha256": "d" * 64},
        {"name": "p.int8.nb", "role": "int8.nb", "bytes": 1_500_000, "sha256": "e" * 64},
        {"name": "golden/0/input.npy", "role": "golden", "bytes": 900, "sha256": "f" * 64},
    ]
    report["latency"] |= {"original_ms": 24.6, "speedup": 3.0}
    report["model"] |= {"params_before": 1_412_500, "macs_before": 640_000_000}
    report["machine"] = {"cpu": "a CPU", "cores": 2, "features": ["avx2", "avx512_vnni"], "system": "Linux"}
    report["agreement"] = [
        {"truth": "original", "judged": "int8.onnx", "value": 0.93761234},
        {"truth": "int8.onnx", "judged": "original", "value": 0.91},
    ]
    report["judged"] = "int8.onnx"
    report["pictures"] = [
        {
            "name": "a.jpg", "metric": "agreement_ap", "value": 0.25, "width": 48, "height": 32, "jpeg": JPEG,
            "reference": [
                {"label": "dog", "score": 0.75, "points": BOX, "differs": True},
                {"label": "cat", "score": 0.5, "points": BOX, "differs": False},
            ],
            "judged": [
                {"label": "cow", "score": 0.61, "points": BOX, "differs": True},
                {"label": "cat", "score": 0.5, "points": BOX, "differs": False},
            ],
        },
        {
            "name": "b.jpg", "metric": "agreement_ap", "value": 0.5, "width": 48, "height": 12, "jpeg": JPEG,
            "reference": [{"label": "12 : 30", "score": 0.9, "points": None, "differs": True}],
            "judged": [{"label": "", "score": 0.0, "points": None, "differs": True}],
        },
    ]  # fmt: skip
    report["attempts"] = [
        {"stage": "prune", "step": "removed", "error": 0.1, "kept": True},
        {"stage": "prune", "step": "refit", "error": 0.01, "kept": True},
        {"stage": "quantize", "step": "kl", "error": 0.7, "kept": True},
        {"stage": "quantize", "step": "equalise", "error": 0.9, "kept": False},
    ]
    report["alternatives"] = [
        {"floats": 0, "added": None, "error": 0.02, "macs": 0.01, "params": 0.0, "chosen": False},
        {"floats": 1, "added": "conv_2", "error": 0.004, "macs": 0.05, "params": 0.02, "chosen": True},
    ]
    report["groups"] = [
        {"name": "conv_3", "channels": 32, "removed": [0, 0], "losses": []},
        {"name": "conv_7", "channels": 48, "removed": [16, 8], "losses": [[0.25, 0.02], [0.5, 0.2]]},
    ]
    report["arm"] = {
        "self_tests": [
            {"model": "fp32.onnx", "cpu": "a53", "vectors": 3, "sqnr_db": 101.5, "least_db": 50.0},
            {"model": "int8.onnx", "cpu": "a76", "vectors": 3, "sqnr_db": None, "least_db": None},
        ],
        "costs": [
            {"model": "original", "cpu": "a76", "counts": {"dot": 0, "fp": 150_000_000, "load": 50_000_000}},
            {"model": "int8", "cpu": "a76", "counts": {"dot": 50_000_000, "fp": 0, "load": 30_000_000}},
            {"model": "int8", "cpu": "a53", "counts": {"dot": 0, "fp": 1, "load": 2}},
        ],
    }  # fmt: skip
    for test in report["arm"]["self_tests"]:
        test["failed"] = None
    report["boards"] = [
        {
            "machine": "aarch64", "model": "Board <1>", "through": "ssh", "cores": [2, 3],
            "engine": "ONNX Runtime 1", "warmup": 20, "repeats": 100,
            "timings": [
                {"model": "int8.onnx", "threads": 2, "min_ms": 1.5, "median_ms": 1.75, "p90_ms": 2.25,
                 "preprocess_median_ms": 0.5, "postprocess_median_ms": 0.25, "peak_mb": 40.5},
            ],
        }
    ]  # fmt: skip
    report["lineage"] = [
        {"stage": "fetch", "origin": "a wheel"},
        {
            "stage": "prune",
            "criterion": "fpgm",
            "errors": {"removed": 0.1, "refit": 0.01},
            "groups": [{}, {}],
        },
        {"stage": "quantize", "method": "kl", "repair": ["equalise"], "undone": ["equalise"]},
        {"stage": "pact", "minutes": 30.0},
        {"stage": "export"},
    ]
    return report


FULL = _full()
