"""What the server's log looks like: one line per event, a fixed message and then its fields."""

import logging
from typing import Final

KNOWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class FieldFormatter(logging.Formatter):
    """Appends what a call passed as `extra`, as `name=value`."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        fields = (f"{k}={v}" for k, v in vars(record).items() if k not in KNOWN)
        return " ".join([super().formatMessage(record), *fields])


def configure_logging() -> None:
    """Our own events from INFO on, everybody else's from WARNING on, to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(FieldFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    for name in ("omni", "actors"):
        logging.getLogger(name).setLevel(logging.INFO)
