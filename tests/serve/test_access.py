"""Who gets in: the whole table, without a network."""

import pytest

from omni.errors import ConfigError, ProtocolError
from omni.serve.access import Access, check_exposure

HERE = "localhost:8080"
PATH = "/v1/realtime"


@pytest.mark.parametrize(
    ("origin", "host", "is_let_in"),
    [
        (None, HERE, True),
        ("http://localhost:8080", HERE, True),
        ("http://127.0.0.1:5173", HERE, True),
        ("http://[::1]:8080", "[::1]:8080", True),
        ("http://192.168.1.7:8080", "192.168.1.7:8080", True),
        ("https://kiosk.example", "anything", True),
        ("https://KIOSK.example", "anything", True),
        ("http://192.168.1.8:8080", "192.168.1.7:8080", False),
        ("http://192.168.1.7:81", "192.168.1.7:8080", False),
        ("http://evil.example", HERE, False),
        # A name that an attacker's DNS points here: same origin, but not our page.
        ("http://evil.example:8080", "evil.example:8080", False),
        ("https://kiosk.example.evil.example", HERE, False),
        ("http://localhost.evil.example", HERE, False),
        ("http://127.0.0.1.evil.example", HERE, False),
        ("http://localhost@evil.example", HERE, False),
        ("http://localhost:99999", HERE, False),
        ("file://", HERE, False),
        ("null", HERE, False),
        ("", HERE, False),
        ("http://[::1", HERE, False),
        ("chrome-extension://localhost", HERE, False),
    ],
)
def test_pages(origin: str | None, host: str, is_let_in: bool) -> None:
    access = Access((), ["https://kiosk.example"])
    headers = {"host": host} | ({} if origin is None else {"origin": origin})
    if is_let_in:
        access.check(PATH, headers)
    else:
        with pytest.raises(ProtocolError) as refusal:
            access.check(PATH, headers)
        assert refusal.value.code == "origin_not_allowed"


def test_with_a_key_a_named_host_is_its_own_origin() -> None:
    headers = {"origin": "https://omni.example", "host": "omni.example"}
    Access(["secret"]).check(PATH, {**headers, "authorization": "Bearer secret"})


@pytest.mark.parametrize(
    ("headers", "subprotocols", "is_let_in"),
    [
        ({"authorization": "Bearer secret"}, [], True),
        ({"authorization": "bearer  secret "}, [], True),
        ({}, ["realtime", "openai-insecure-api-key.secret"], True),
        ({}, [], False),
        ({"authorization": "Bearer wrong"}, [], False),
        ({"authorization": "Bearer "}, [], False),
        ({"authorization": "Basic secret"}, [], False),
        ({"authorization": "secret"}, [], False),
        ({"authorization": "Bearer secret\xe9"}, [], False),
        ({}, ["realtime"], False),
        ({}, ["openai-insecure-api-key."], False),
        ({}, ["openai-insecure-api-key.secret2"], False),
    ],
)
def test_keys(headers: dict[str, str], subprotocols: list[str], is_let_in: bool) -> None:
    access = Access(["old", "secret"])
    if is_let_in:
        access.check(PATH, headers, subprotocols)
    else:
        with pytest.raises(ProtocolError) as refusal:
            access.check(PATH, headers, subprotocols)
        assert refusal.value.code == "invalid_api_key"
        assert "secret" not in refusal.value.message


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "omni.example", ""])
def test_nobody_listens_to_the_world_by_accident(host: str) -> None:
    with pytest.raises(ConfigError, match="OMNI_API_KEY"):
        check_exposure(host, (), is_open=False)
    check_exposure(host, ("secret",), is_open=False)
    check_exposure(host, (), is_open=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.2"])
def test_this_machine_needs_no_key(host: str) -> None:
    check_exposure(host, (), is_open=False)
