# `make demo` and `make test` need Python with pip, and a CPython 3.10 that uv can find or download.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.ready
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)

# What `make arm` tests on emulated ARM cores. Those below build/arm/ are made first, from few pictures: the cores
# answer alike for a good table of scales and a bad one, and four good ones take half an hour.
ARM_BUNDLES ?= $(addprefix build/arm/,picodet_s pplcnetv2_base ppocrv3_det ppocrv3_rec)
FEW := --preset kl --set data.evaluation.count=6 --set validate.gates=null --set data.calibration.count=8

# What `make jvm` tests: bundles that `edgekit compress` wrote; without any it makes a small one.
JVM_BUNDLES ?= $(or $(patsubst %/manifest.json,%,$(wildcard build/*/manifest.json)),build/jvm/ppocr_mobile_v2_cls)

# What `make android` runs on an emulated ARM core and under Robolectric, and puts into the APK.
ANDROID_BUNDLES ?= $(JVM_BUNDLES)

.PHONY: demo test test-slow lint arm jvm android clean
.DELETE_ON_ERROR:

demo: $(STAMP)
	$(BIN)/edgekit compress --recipe picodet_s

test: lint
	$(BIN)/python -m pytest -n 2 -m "not slow"

# Real weights of every model, training, several devices: minutes each.
test-slow: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist worksteal --durations 20 -m slow

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Cross compiler, emulator, C++ runner, and the bundles' golden vectors on emulated ARM cores. Needs CMake and npm.
arm: $(STAMP) $(addsuffix /manifest.json,$(ARM_BUNDLES))
	$(BIN)/edgekit arm setup
	$(BIN)/edgekit arm self-test $(ARM_BUNDLES)

build/arm/%/manifest.json: | $(STAMP)
	$(BIN)/edgekit compress --recipe $* $(FEW) --out $(@D)

# The Java runtime, with its unit tests and the bundles' self-tests. Needs Java 11 or newer and Maven.
jvm: $(JVM_BUNDLES)
	cd runtimes/jvm && mvn -q -B package
	set -e; for bundle in $(JVM_BUNDLES); do for model in fp32 int8; do \
	  java -jar runtimes/jvm/target/edgekit-runtime.jar self-test $$bundle --model $$model; \
	done; done

# The Java runtime's tests, its jar on an emulated ARM core, the Android demo's screens, and its APK. Needs Java 17,
# Maven and npm.
android: $(STAMP) $(ANDROID_BUNDLES)
	EDGEKIT_DEMO_BUNDLES="$(ANDROID_BUNDLES)" $(BIN)/python -m pytest -n 2 tests/android tests/runtimes/test_jvm_arm.py
	$(BIN)/edgekit android apk $(ANDROID_BUNDLES:%=--bundle %) --model int8 --output build/edgekit-demo.apk

build/jvm/ppocr_mobile_v2_cls: | $(STAMP)
	$(BIN)/edgekit compress --recipe ppocr_mobile_v2_cls $(FEW) --out $@

clean:
	rm -rf .venv .uv build dist runtimes/jvm/target android_demo/target .mypy_cache .pytest_cache .ruff_cache

# `--target` works where the system's Python is externally managed and where it lacks `venv`.
.uv/bin/uv:
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --target .uv uv

# The dependencies live here: a change of the pins makes the environment anew. `uv pip` writes no lock file.
$(STAMP): pyproject.toml .python-version Makefile | $(filter .uv/bin/uv,$(UV))
	@$(UV) venv --quiet --clear --python "$$(cat .python-version)" .venv || { \
	  echo "edgekit needs CPython $$(cat .python-version), the newest that Paddle Lite has wheels for;" \
	       "uv found none and could not download one. Install it, or put it on PATH, and run make again." >&2; \
	  exit 1; }
	$(UV) pip install --quiet --python $(BIN)/python -e '.[dev]'
	@touch $@
