"""spamguard: spam SMS filtering in the stream, Chinese first, English too; every decision says why."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("spamguard")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+source"
