"""cupy.cuda, as far as a program needs it to find its one device and to wait for it."""

from dataclasses import dataclass

from .counters import count_sync


class CUDARuntimeError(RuntimeError):
    """What CuPy raises where CUDA reports an error."""


@dataclass(frozen=True)
class Device:
    """Device(0) is the only one; using another raises, as on a machine with one GPU."""

    id: int = 0

    def use(self):
        if self.id != 0:
            raise CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")

    def __enter__(self):
        self.use()
        return self

    def __exit__(self, *exception):
        pass

    def synchronize(self):
        count_sync("Device.synchronize()")


class Stream:
    """The default stream; everything runs at once, so waiting for it only counts."""

    def synchronize(self):
        count_sync("Stream.synchronize()")


Stream.null = Stream()

CUDA = {
    "Device": Device,
    "Stream": Stream,
    "get_current_stream": lambda: Stream.null,
    "is_available": lambda: True,
}

RUNTIME = {
    "CUDARuntimeError": CUDARuntimeError,
    "getDevice": lambda: 0,
    "getDeviceCount": lambda: 1,
    "deviceSynchronize": lambda: count_sync("deviceSynchronize()"),
}
