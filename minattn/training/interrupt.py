"""Ctrl-C that waits for a good moment."""

import signal
import threading
from types import FrameType
from typing import Any, Self


class CtrlC:
    """Within its `with` block the first Ctrl-C is only noted, in `pressed`; a second one raises KeyboardInterrupt.

    Only the main thread is told of signals, so elsewhere it notes nothing.
    """

    def __init__(self) -> None:
        self.pressed = False
        self._previous: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.pressed = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
