"""Which URLs a webhook may have. Nothing here touches a network: names are looked up in a table."""

from __future__ import annotations

import ipaddress
import threading
from concurrent.futures import Future
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.settings import ApiSettings
from api.web.addresses import NAT64, Allowed, is_public
from api.webhooks.targets import TargetRefused, Targets

PUBLIC = "93.184.216.34"
BOOKS = "xn--bcher-kva.example"
PUBLIC_6 = "2606:2800:21f:cb07:6820:80da:af6b:8b2c"
NAMES = {
    "example.com": [PUBLIC],
    "both.example": [PUBLIC_6, PUBLIC],
    BOOKS: [PUBLIC],
    "localhost": ["::1", "127.0.0.1"],
    "localhost.localdomain": ["127.0.0.1"],
    "localtest.example": ["127.0.0.1"],
    "metadata.google.internal": ["169.254.169.254"],
    "intranet": ["10.1.2.3"],
    "half.example": [PUBLIC, "10.0.0.1"],  # one address of several is enough to refuse
    "half6.example": [PUBLIC, "fd00::1"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "scoped.example": ["fe80::1%eth0"],
    "nat64.example": ["64:ff9b::5db8:d822"],  # 93.184.216.34 in a network without IPv4
    "nat64-private.example": ["64:ff9b::a00:1"],
    "empty.example": [],
    # What the system's resolver makes of other spellings, if it were ever asked.
    "2130706433": ["127.0.0.1"],
    "0x7f000001": ["127.0.0.1"],
    "0177.0.0.1": ["127.0.0.1"],
    "127.1": ["127.0.0.1"],
}


def lookup(host: str, port: int) -> list[str]:
    if host not in NAMES:
        raise OSError(-2, "Name or service not known")
    return NAMES[host]


def targets(*allowed: str) -> Targets:
    return Targets(Allowed.of(allowed), lookup)


# Hosts as they stand in the URL.
NOT_PUBLIC = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.7",
    "203.0.113.7",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "[::]",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:8.8.8.8]",
    "[::127.0.0.1]",
    "[::7f00:1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::a9fe:a9fe]",
    "[2002:7f00:1::]",
    "[2002:a9fe:a9fe::1]",
    "[2001:0:4136:e378:8000:63bf:3fff:fdd2]",
    "[fe80::1]",
    "[fe80::1%25eth0]",
    "[fe80::1%eth0]",
    "[fec0::1]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[ff02::1]",
    "[100::1]",
    "[2001:db8::1]",
    "[3fff::1]",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "127.0.0.1.",
    "localhost.localdomain",
    "localtest.example",
    "metadata.google.internal",
    "metadata.google.internal.",
    "intranet",
    "half.example",
    "half6.example",
    "mapped.example",
    "scoped.example",
    "nat64-private.example",
]
ODD = [
    "2130706433",
    "017700000001",
    "0x7f000001",
    "0x7f.0.0.1",
    "0X7F.0.0.1",
    "0177.0.0.1",
    "127.1",
    "127.0.1",
    "127.0.0.01",
    "127.0.0.1.1",
    "127.0.0.256",
    "127。0。0。1",
    "①②⑦.0.0.1",
    "\uff11\uff12\uff17.0.0.1",
    "ⓛocalhost",
    "%6c%6f%63%61lhost",
    "127.0.0.1%2f@example.com",
    "example.com\\@127.0.0.1",
    "example.com..",
    ".example.com",
    "-example.com",
    "exa mple.com",
    "exa\tmple.com",
    "example.com\r\nX-Header: 1",
    "example.com\x00.evil.example",
    "a" * 64 + ".example",
    "x." * 130 + "example",
    "",
    ".",
    "[::1",
    "[1:2]",
    "*",
    "example.com:80:443",
]


@pytest.mark.parametrize("host", NOT_PUBLIC)
def test_hosts_that_are_not_public(host: str) -> None:
    with pytest.raises(TargetRefused, match=r"not a public one|scope leads|is not known"):
        targets().check(f"https://{host}/hook")
    with pytest.raises(TargetRefused):
        targets().check(f"http://{host}:8080/hook")


@pytest.mark.parametrize("host", ["intranet", "half.example", "mapped.example", "half6.example"])
def test_a_refusal_tells_no_address(host: str) -> None:
    with pytest.raises(TargetRefused) as refused:
        targets().check(f"https://{host}/hook")
    assert host in str(refused.value)
    assert not [each for each in NAMES[host] if each.split("%")[0] in str(refused.value)]


@pytest.mark.parametrize("host", ODD)
def test_hosts_that_are_spelled_oddly(host: str) -> None:
    with pytest.raises(TargetRefused):
        targets().check(f"https://{host}/hook")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "//example.com/x",
        "http://example.com/x",
        "HTTP://example.com:8080/x",
        "ftp://example.com/x",
        "file:///etc/passwd",
        "gopher://example.com/x",
        "javascript:alert(1)",
        "https:example.com",
        "https:/example.com",
        "https:///example.com",
        "https:\\\\example.com",
        "https://user@example.com/",
        "https://user:secret@example.com/",
        "https://:@example.com/",
        "https://example.com/#part",
        "https://example.com/#",
        "https://example.com:0/",
        "https://example.com:22/",
        "https://example.com:25/",
        "https://example.com:80/",
        "https://example.com:1023/",
        "https://example.com:65536/",
        "https://example.com:-1/",
        "https://example.com:x/",
        "https://example.com:99999999999999999999/",
        f"https://{PUBLIC}:6/",
        "https://unknown.example/",
        "https://empty.example/",
        "https://example.com/\ud800",
    ],
)
def test_urls_that_no_webhook_has(url: str) -> None:
    with pytest.raises(TargetRefused):
        targets().check(url)


@pytest.mark.parametrize(
    ("url", "host", "port", "authority", "addresses"),
    [
        ("https://example.com", "example.com", 443, "example.com", [PUBLIC]),
        ("https://EXAMPLE.com./a?b=c", "example.com", 443, "example.com", [PUBLIC]),
        ("HTTPS://example.com:443/", "example.com", 443, "example.com:443", [PUBLIC]),
        ("https://example.com:8443/", "example.com", 8443, "example.com:8443", [PUBLIC]),
        ("https://example.com:1024/", "example.com", 1024, "example.com:1024", [PUBLIC]),
        ("https://both.example/", "both.example", 443, "both.example", [PUBLIC_6, PUBLIC]),
        ("https://bücher.example/ä", BOOKS, 443, BOOKS, [PUBLIC]),
        (f"https://{PUBLIC}/", PUBLIC, 443, PUBLIC, [PUBLIC]),
        (f"https://[{PUBLIC_6}]/", PUBLIC_6, 443, f"[{PUBLIC_6}]", [PUBLIC_6]),
        ("https://nat64.example/", "nat64.example", 443, "nat64.example", ["64:ff9b::5db8:d822"]),
    ],
)  # fmt: skip
def test_urls_that_are_taken(
    url: str, host: str, port: int, authority: str, addresses: list[str]
) -> None:
    target = targets().check(url)
    assert (target.host, target.port) == (host, port)
    assert target.authority == authority
    assert [str(address) for address in target.addresses] == addresses
    sent_to = target.at(target.addresses[0])
    assert sent_to.host == addresses[0]
    assert sent_to.raw_path == target.url.raw_path


# What the server is told to allow --------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://127.0.0.1/x", ["127.0.0.1"]),
        ("http://127.0.0.1:22/x", ["127.0.0.0/8"]),
        ("https://10.1.2.3/x", ["10.0.0.0/8"]),
        ("http://localhost:9000/", ["localhost"]),
        ("http://LOCALHOST.:9000/", ["Localhost."]),
        ("http://localhost:9000/", ["127.0.0.0/8", "::1"]),
        ("http://intranet/", ["intranet"]),
        ("https://half.example/", ["10.0.0.0/8"]),
        ("http://example.com/", ["example.com"]),
        ("http://[::1]:80/", ["::1/128"]),
    ],
)
def test_exceptions(url: str, allowed: list[str]) -> None:
    with pytest.raises(TargetRefused):
        targets().check(url)
    assert targets(*allowed).check(url).addresses


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://127.0.0.1/x", ["127.0.0.2"]),
        ("http://127.0.0.1/x", ["localhost"]),  # a name allows the name
        ("http://localhost/", ["127.0.0.0/8"]),  # of its two addresses one is not allowed
        ("http://half.example/", ["10.0.0.0/8"]),  # http to its public address
        ("https://half.example/", ["11.0.0.0/8"]),
        ("http://sub.intranet/", ["intranet"]),
        ("http://[::ffff:127.0.0.1]/", ["127.0.0.0/8"]),
        ("http://2130706433/", ["127.0.0.0/8"]),
        ("http://user@localhost/", ["localhost"]),
    ],
)
def test_exceptions_are_no_wider_than_they_say(url: str, allowed: list[str]) -> None:
    with pytest.raises(TargetRefused):
        targets(*allowed).check(url)


def test_exceptions_come_from_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAROT_WEBHOOK_ALLOW", "Hooks.lan, 10.0.0.0/8,::1")
    monkeypatch.setenv("CAROT_WEBHOOK_RETRY_SECONDS", "1, 2.5,60")
    settings = ApiSettings()
    assert settings.webhook_allow == {"hooks.lan", "10.0.0.0/8", "::1"}
    assert settings.webhook_retry_seconds == (1.0, 2.5, 60.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WEBHOOK_ALLOW", "10.0.0.1/8"),
        ("WEBHOOK_ALLOW", "https://intranet/"),
        ("WEBHOOK_ALLOW", "*.lan"),
        ("WEBHOOK_ALLOW", "127.1"),
        ("WEBHOOK_RETRY_SECONDS", "5,-1"),
        ("WEBHOOK_RETRY_SECONDS", "5,inf"),
        ("WEBHOOK_RETRY_SECONDS", "soon"),
    ],
)
def test_settings_that_mean_nothing(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"CAROT_{name}", value)
    with pytest.raises(ValueError, match=name.lower()):
        ApiSettings()


# Addresses -------------------------------------------------------------------------------------


def globally_reachable(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """As the standard library has it, whose lists were written by others."""
    return address.is_global and not address.is_multicast and not address.is_reserved


@given(st.ip_addresses(v=4))
def test_no_address_is_public_that_the_standard_library_calls_local(address: IPv4Address) -> None:
    if is_public(address):
        assert globally_reachable(address)


@given(st.ip_addresses(v=6))
def test_nor_one_of_the_sixth_version(address: IPv6Address) -> None:
    if is_public(address) and address not in NAT64:
        assert globally_reachable(address)


@given(st.ip_addresses(v=4))
def test_an_address_in_disguise_is_as_public_as_it_is_or_less(address: IPv4Address) -> None:
    number = int(address)
    assert is_public(IPv6Address((0x64FF9B << 96) | number)) == is_public(address)
    for disguise in ((0xFFFF << 32) | number, number, (0x2002 << 112) | (number << 80)):
        assert not is_public(IPv6Address(disguise))


@pytest.mark.parametrize(
    "text", ["1.1.1.1", "8.8.8.8", "172.15.255.255", "172.32.0.0", "192.167.255.255", "223.255.0.1",
             "100.63.255.255", "100.128.0.0", "2a00:1450:4001::1", "2606:4700:4700::1111"],
)  # fmt: skip
def test_public_addresses(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


# Looking up ------------------------------------------------------------------------------------


def test_a_name_is_looked_up_once_for_a_check_and_again_for_the_next() -> None:
    answers = [[PUBLIC], ["127.0.0.1"]]
    asked: list[tuple[str, int]] = []

    def rebinding(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return answers[len(asked) - 1]

    checked = Targets(Allowed.of(()), rebinding)
    target = checked.check("https://rebind.example:8443/x")
    assert asked == [("rebind.example", 8443)]
    assert [str(each) for each in target.addresses] == [PUBLIC]
    with pytest.raises(TargetRefused):
        checked.check("https://rebind.example:8443/x")


def test_addresses_are_not_looked_up() -> None:
    def never(host: str, port: int) -> list[str]:
        raise AssertionError(host)

    Targets(Allowed.of(()), never).check(f"https://{PUBLIC}/")


def test_a_lookup_that_hangs_holds_up_no_other() -> None:
    release = threading.Event()

    def slow(host: str, port: int) -> list[str]:
        if host == "slow.example":
            release.wait(60)
        return [PUBLIC]

    checked = Targets(Allowed.of(()), slow)
    hanging: Future[object] = checked.submit("https://slow.example/")  # type: ignore[assignment]
    try:
        assert checked.submit("https://example.com/").result(timeout=30).host == "example.com"
        with pytest.raises(TimeoutError):
            hanging.result(timeout=0.05)
    finally:
        release.set()
        checked.close()
