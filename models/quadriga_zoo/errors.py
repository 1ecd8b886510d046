"""Errors of the zoo; each message is one line for whoever typed the command."""


class ZooError(Exception):
    """Base of the errors below."""


class DatasetError(ZooError):
    """A data set's file is missing or damaged; names the file and where to get it."""


class ExportError(ZooError):
    """A network cannot be exported, or an exported file does not compute what its source does."""
