"""What becomes of a child process that fails, crashes, hangs or fills the disk."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from edgekit.backends import child
from edgekit.errors import EdgekitError

MODULE = """
import os, sys, time
what = sys.argv[1]
if what == "say":
    print("said", *sys.argv[2:])
elif what == "abort":
    print("Loading the model", file=sys.stderr)
    print("[F program.cc:42] Check failed: no kernel for conv3d", file=sys.stderr)
    print("----------------", file=sys.stderr)
    print("0 some::frame(int)", file=sys.stderr, flush=True)
    os.abort()
elif what == "segfault":
    os.kill(os.getpid(), 11)
elif what == "exit":
    print("last line of stdout", flush=True)
    sys.exit(7)
elif what == "bytes":
    sys.stderr.buffer.write(b"\\xff\\xfe broken")
    sys.exit(1)
elif what == "disk":
    raise OSError(28, "No space left on device")
elif what == "hang":
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "engine_for_test.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def failure(*arguments: str, timeout: float = 60) -> EdgekitError:
    with pytest.raises(EdgekitError) as caught:
        child.run("engine_for_test", list(arguments), "The engine", timeout)
    return caught.value


def test_its_output() -> None:
    assert child.run("engine_for_test", ["say", "a b", "'c'"], "The engine") == "said a b 'c'\n"


def test_abort() -> None:
    error = failure("abort")
    assert error.code == "EK501" and error.exit_code == 5
    assert "The engine failed (killed by SIGABRT)" in error.message
    assert "Check failed: no kernel for conv3d" in error.message
    assert "---" not in error.message and "some::frame" not in error.message and "\n" not in error.message


def test_segfault_without_a_word() -> None:
    assert failure("segfault").message.endswith("(killed by SIGSEGV). Its last words: it said nothing")


def test_exit_status() -> None:
    error = failure("exit")
    assert error.code == "EK501" and "(exit 7)" in error.message and "last line of stdout" in error.message


def test_bytes_that_are_no_text() -> None:
    assert "broken" in failure("bytes").message


def test_full_disk() -> None:
    assert failure("disk").code == "EK410"


def test_hang() -> None:
    start = time.monotonic()
    error = failure("hang", timeout=1)
    assert error.code == "EK501" and "did not end within 1 s" in error.message
    assert time.monotonic() - start < 20


def test_no_such_module() -> None:
    with pytest.raises(EdgekitError, match="No module named") as caught:
        child.run("edgekit.backends.nowhere", [], "The engine")
    assert caught.value.code == "EK501"


def test_last_words_are_short() -> None:
    assert child.last_words("a\n\nb\n====\nc\n d \n 1 frame\n") == "b | c | d"
    assert len(child.last_words("x" * 10_000)) == 500
    assert child.last_words("") == ""
