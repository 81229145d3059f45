"""aotiny.Error made in Python: the modules written in it fail as the native side does."""

from ._core import Error

# The statuses of cpp/aotiny/core/status.h that modules in Python have a use for.
_CODES = {
    "InvalidState": 0x02,
    "NotSupported": 0x10,
    "InvalidArgument": 0x12,
    "InvalidType": 0x13,
    "NotFound": 0x20,
    "AccessFailed": 0x22,
}


def error(text: str, name: str = "InvalidArgument") -> Error:
    """An aotiny.Error to raise, with the code of that status and a sentence."""
    made = Error(text)
    made.code, made.name = _CODES[name], name
    return made


def prefixed(where: str, failure: Error) -> Error:
    """The same failure, of whatever status, saying where it happened."""
    made = Error(f"{where}: {failure}")
    made.code, made.name = failure.code, failure.name
    return made


def os_error(what: str, failure: OSError) -> Error:
    """The aotiny.Error for a failed system call: NotFound or AccessFailed, with its reason."""
    name = "NotFound" if isinstance(failure, FileNotFoundError) else "AccessFailed"
    return error(f"{what}: {failure.strerror or failure}", name)
