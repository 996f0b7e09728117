import logging

from omni.serve.logs import FieldFormatter


def test_a_line_is_a_message_and_its_fields() -> None:
    record = logging.makeLogRecord(
        {"name": "omni.serve", "levelname": "INFO", "msg": "call over", "call": "rtc_1", "code": 7}
    )
    line = FieldFormatter().format(record)
    assert line.endswith("INFO omni.serve: call over call=rtc_1 code=7")
