"""How things of a comparison are called in texts. Pure."""


def callers(concurrency: int) -> str:
    """A level."""
    return "1 caller" if concurrency == 1 else f"{concurrency} callers"
