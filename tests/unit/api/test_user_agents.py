"""User agents: what sessions and logs show of them, and how long anybody may make reading one take."""

import time

import pytest

from api.user_agents import LONGEST, read_user_agent, shorten

LINUX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
WINDOWS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36"
    " Edg/120.0.2210.91"
)
PHONE = (
    "Mozilla/5.0 (Linux; Android 14; SM-S918B Build/UP1A) AppleWebKit/537.36 (KHTML, like Gecko)"
    " Chrome/120.0.0.0 Mobile Safari/537.36"
)
IPAD = (
    "Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/16.6"
    " Mobile/15E148 Safari/604.1"
)


@pytest.mark.parametrize(
    ("agent", "system", "client", "engine", "device"),
    [
        (LINUX, ("GNU/Linux", "LIN", ""), ("Firefox", "FF", "128.0"), ("Gecko", "128.0"), ("desktop", "", "")),
        (
            WINDOWS,
            ("Windows", "WIN", "10"),
            ("Microsoft Edge", "PS", "120.0.2210.91"),
            ("Blink", "120.0.0.0"),
            ("desktop", "", ""),
        ),
        (
            PHONE,
            ("Android", "AND", "14"),
            ("Chrome Mobile", "CM", "120.0.0.0"),
            ("Blink", "120.0.0.0"),
            ("smartphone", "Samsung", "SM-S918B"),
        ),
        (
            IPAD,
            ("iOS", "IOS", "16.6"),
            ("Mobile Safari", "MF", "16.6"),
            ("WebKit", "605.1.15"),
            ("tablet", "Apple", "iPad"),
        ),
        ("", ("", "", ""), ("", "", ""), ("", ""), ("", "", "")),
        ("curl/8.4", ("", "", ""), ("", "", ""), ("", ""), ("", "", "")),
    ],
)
def test_what_is_known_is_told(
    agent: str, system: tuple[str, ...], client: tuple[str, ...], engine: tuple[str, ...], device: tuple[str, ...]
) -> None:
    read = read_user_agent(agent)
    assert (read.os_name, read.os_code, read.os_version) == system
    assert (read.client_name, read.client_code, read.client_version) == client
    assert read.client_type == ("browser" if client[0] else "")
    assert (read.client_engine, read.client_engine_version) == engine
    assert (read.device_name, read.device_brand, read.device_model) == device


def test_what_is_longer_is_cut_before_it_is_read() -> None:
    assert len(shorten("x" * 100_000)) == LONGEST
    assert read_user_agent(" " * LONGEST + LINUX).client_name == ""


@pytest.mark.parametrize(
    "hostile",
    ["Android " * 16_000 + "; " + " Build/" * 16_000, "CPU " * 16_000, "Version/1 " * 16_000, "Mozilla/5.0 (" * 9_000],
)
def test_no_agent_takes_more_than_a_moment(hostile: str) -> None:
    """In CPU time of this thread: the first of these took hours, the second four seconds."""
    started = time.thread_time()
    for number in range(10):
        read_user_agent(f"{number}{hostile}")
    assert time.thread_time() - started < 0.5
