"""The determinism guard."""


def install() -> None:
    """Begin to watch."""
