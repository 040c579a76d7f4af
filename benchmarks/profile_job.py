"""Where the job's seconds and memory go: looks at it every few milliseconds while it runs in one process.

    python -m benchmarks.profile_job ROWS --input EXPORT --output OUTPUT --workers 1

A look books the CPU that the whole process used since the one before, its native threads included, under what the
job's own thread is doing; so the libraries' threads count where they are waited for, and the sum is exact.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import io
import linecache
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from types import FrameType

import psutil

LOOK_SECONDS = 0.008
SHOWN = 25
_ROOT = str(Path(__file__).resolve().parents[1])
_PROJECT = (f"{_ROOT}/transforms/", f"{_ROOT}/pipelines/")
_STEPS = frozenset(map(str, Path(f"{_ROOT}/transforms").glob("*.py")))  # one PTransform a file
_WAITING = ("threading.py", "queue.py", "selectors.py", "socket.py", "subprocess.py")


class Looker(threading.Thread):
    """CPU seconds by step, function and line of the project; resident memory by step, and where it was highest."""

    def __init__(self) -> None:
        super().__init__(name="looker", daemon=True)
        self._process = psutil.Process()
        self._ended = threading.Event()
        self.steps: defaultdict[str, float] = defaultdict(float)
        self.functions: defaultdict[str, float] = defaultdict(float)
        self.lines: defaultdict[str, float] = defaultdict(float)
        self.memory: defaultdict[str, float] = defaultdict(float)
        self.peak = 0
        self.peak_at = ""
        self.error: Exception | None = None

    def stop(self) -> None:
        self._ended.set()
        self.join()
        if self.error is not None:
            raise self.error

    def run(self) -> None:
        try:
            self._look()
        except Exception as error:  # the job silences what its threads say: the main thread raises it
            self.error = error

    def _look(self) -> None:
        before = time.process_time()
        while not self._ended.wait(LOOK_SECONDS):
            # A waiting thread costs nothing: what is used meanwhile belongs to those that are not waiting.
            stacks = [stack for stack in self._stacks() if not stack[0][0].endswith(_WAITING)]
            now = time.process_time()
            spent, before = now - before, now
            resident = int(self._process.memory_info().rss)
            for stack in stacks:
                step, function, line = _place(stack)
                self.steps[step] += spent / len(stacks)
                self.functions[function] += spent / len(stacks)
                self.lines[line] += spent / len(stacks)
                self.memory[step] = max(self.memory[step], resident)
                if resident > self.peak:
                    self.peak, self.peak_at = resident, f"{step}, {line}"
            if not stacks:
                self.steps["nothing in Python"] += spent

    def _stacks(self) -> list[list[tuple[str, str, int, str]]]:
        frames = sys._current_frames()
        return [_stack(frame) for thread, frame in frames.items() if thread != self.ident]


def _stack(frame: FrameType | None) -> list[tuple[str, str, int, str]]:
    """(file, function, line, class of a step), the innermost first."""
    stack = []
    while frame is not None:
        code = frame.f_code
        owner = _step_class(code.co_filename, code.co_firstlineno) if code.co_filename in _STEPS else ""
        stack.append((code.co_filename, code.co_name, frame.f_lineno or code.co_firstlineno, owner))
        frame = frame.f_back
    return stack


@functools.cache
def _step_class(file: str, line: int) -> str:
    """The class that a line of a module stands in; a frame's own variables would keep tables alive if asked."""
    classes = (node for node in ast.parse(Path(file).read_text()).body if isinstance(node, ast.ClassDef))
    return next((node.name for node in classes if node.lineno <= line <= (node.end_lineno or 0)), "")


def _place(stack: list[tuple[str, str, int, str]]) -> tuple[str, str, str]:
    """Step, function and line of the project that a stack is in, and what it calls there."""
    if any(file.startswith("<frozen importlib") for file, _, _, _ in stack):
        return ("imports",) * 3
    step = next((f"{Path(file).stem}.{owner}" for file, _, _, owner in reversed(stack) if owner), "")
    in_beam = any("apache_beam" in file for file, _, _, _ in stack)
    if step and "._" not in step:
        step = "building the graph"
    step = step or ("Beam, between steps" if in_beam else "before and after")
    found = next(((depth, entry) for depth, entry in enumerate(stack) if entry[0].startswith(_PROJECT)), None)
    if found is None or (in_beam and found[0] != 0 and step.startswith("Beam")):
        return step, step, f"{Path(stack[0][0]).name}:{stack[0][2]} {stack[0][1]}"
    depth, (file, name, number, _) = found
    short = file[len(_ROOT) + 1 :]
    called = f" → {stack[depth - 1][1]}" if depth else ""
    text = linecache.getline(file, number).strip()[:70]
    return step, f"{short} {name}{called}", f"{short}:{number} `{text}`"


def _highest(seconds: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(seconds.items(), key=lambda item: -item[1])


def main(argv: list[str]) -> int:
    rows = int(argv[0])
    # Without this a look waits up to 5 ms for the interpreter, which is then past what it did.
    sys.setswitchinterval(0.0005)
    looker = Looker()
    looker.start()
    from pipelines.currents_to_mixpanel import main as job  # after the start: imports are part of it

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        status = job(argv[1:])
    looker.stop()
    if status:
        print(printed.getvalue(), file=sys.stderr)
        return status
    print(f"{time.process_time():.2f} CPU seconds, {looker.peak / 1e9:.2f} GB at the peak, in {looker.peak_at}\n")
    print("| step | CPU s | share | µs a row | resident GB |\n|---|---:|---:|---:|---:|")
    total = sum(looker.steps.values())
    for step, seconds in _highest(looker.steps):
        per_row = seconds / rows * 1e6
        print(f"| {step} | {seconds:.2f} | {seconds / total:.0%} | {per_row:.2f} | {looker.memory[step] / 1e9:.2f} |")
    for title, seconds_by_place in (("function → what it calls", looker.functions), ("line", looker.lines)):
        print(f"\n| {title} | CPU s | share | µs a row |\n|---|---:|---:|---:|")
        for place, seconds in _highest(seconds_by_place)[:SHOWN]:
            print(f"| {place.replace('|', '/')} | {seconds:.2f} | {seconds / total:.1%} | {seconds / rows * 1e6:.2f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
