"""The server calls the addresses that it may, as they are, and no other."""

import asyncio
import datetime as dt
import gzip
import ipaddress
import json
import logging
import socket
import ssl
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from features.errors import InvalidInput
from serving.access import addresses
from serving.access.addresses import AllowedAddresses, fetch_json
from serving.access.errors import AddressRefused
from tests.serving.access.issuer import LOOPBACK, send, served


def fetch(url, allowed, **options):
    return asyncio.run(fetch_json(url, allowed=allowed, **options))


def allowing(*said):
    return AllowedAddresses.read(" ".join(said))


def test_an_allowed_address_is_asked_with_the_headers_given():
    with served() as server:
        found = fetch(server.url, allowing(server.url, LOOPBACK), headers={"Authorization": "Bearer x"})
    assert found == {"keys": []}
    assert server.headers[0]["Authorization"] == "Bearer x"
    assert server.headers[0]["Host"] == server.url.split("/")[2]


PREFIX = "https://ehr.example.org/fhir"


@pytest.mark.parametrize(
    "url",
    [
        PREFIX, f"{PREFIX}/", f"{PREFIX}/Patient/1?_count=5&code=a|b,c@d", "https://EHR.example.org/fhir",
        "https://ehr.example.org:443/fhir/x",
    ],
)  # fmt: skip
def test_what_begins_with_an_allowed_address_is_allowed(url):
    assert allowing(PREFIX).require(url).hostname == "ehr.example.org"


@pytest.mark.parametrize(
    "url",
    [
        "https://ehr.example.org", "https://ehr.example.org/fhirx", "https://ehr.example.org/", "http://ehr.example.org/fhir",
        "https://ehr.example.org:8443/fhir", "https://ehr.example.org.evil.example/fhir",
        "https://ehr.example.org@evil.example/fhir", "https://evil.example/https://ehr.example.org/fhir",
        "https://user:pass@ehr.example.org/fhir", "https://ehr.example.org/fhir/../admin",
        "https://ehr.example.org/fhir/%2e%2e/admin", "https://ehr.example.org/fhir/%2E%2e%2fadmin",
        "https://ehr.example.org/fhir\\..\\admin", "https://ehr.example.org/fhir#x",
        "https://ehr.example.org/fhir x", "https://ehr.example.org/fhir\n", "\thttps://ehr.example.org/fhir",
        "https://ehr.example.org/fhir\r\nHost: x", "//ehr.example.org/fhir", "ehr.example.org/fhir", "",
        "file:///etc/passwd", "ftp://ehr.example.org/fhir", "gopher://ehr.example.org/fhir",
        "https://ehr.example.org:0/fhir", "https://ehr.example.org:99999/fhir", "https://[::1/fhir",
        "https:///fhir", "https://ehr.example.org\u3002evil.example/fhir", "https://еhr.example.org/fhir",
    ],
)  # fmt: skip
def test_every_other_address_is_refused_without_a_call(url):
    with pytest.raises(AddressRefused, match="not among SALVAGE_ALLOWED_ADDRESSES"):
        allowing(PREFIX).require(url)


@pytest.mark.parametrize(
    "said", ["ehr.example.org", "10.20.0.1/16", "https://a b", "https://", "10.0.0.0/40"]
)
def test_a_setting_that_allows_nothing_is_said(said):
    with pytest.raises(InvalidInput, match="cannot be allowed"):
        allowing("https://fine.example", said, "10.0.0.0/8")


def reached(address, *networks, scheme="https"):
    return allowing(*networks).reaches(ipaddress.ip_address(address), scheme=scheme)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "::ffff:8.8.8.8"])
def test_public_machines_are_reached_over_https(address):
    assert reached(address)
    assert not reached(address, scheme="http")


PRIVATE = [
    "10.0.0.1", "172.16.0.1", "192.168.1.1", "127.0.0.1", "0.0.0.0", "100.64.0.1", "169.254.169.254",
    "198.18.0.1",
    "192.0.2.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "100.100.100.200",
    "::1", "::",
    "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe", "64:ff9b::7f00:1", "2002:7f00:1::", "2002:a9fe:a9fe::", "2001:db8::1",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_other_machines_are_not(address):
    assert not reached(address)
    assert not reached(address, scheme="http")


def test_a_private_network_is_reached_where_it_is_allowed_and_metadata_never():
    assert reached("10.20.3.4", "10.20.0.0/16")
    assert not reached("10.21.3.4", "10.20.0.0/16")
    assert reached("fd12::1", "fd12::/64")
    everything = ("0.0.0.0/0", "::/0")
    for address in (
        "169.254.169.254",
        "fe80::1",
        "fd00:ec2::254",
        "100.100.100.200",
        "::ffff:169.254.169.254",
    ):
        assert not reached(address, *everything)


def test_plain_http_is_for_loopback_only_and_loopback_only_where_it_is_allowed():
    assert reached("127.0.0.1", LOOPBACK, scheme="http")
    assert not reached("10.20.3.4", "10.20.0.0/16", scheme="http")
    with served() as server:
        with pytest.raises(AddressRefused, match="machine that may not be called"):
            fetch(server.url, allowing(server.url))
        assert server.asked == []


@pytest.mark.parametrize(
    "host", ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[::ffff:127.0.0.1]", "localhost"]
)
def test_loopback_by_another_name_is_loopback(host):
    with served() as server:
        url = server.url.replace("127.0.0.1", host)
        with pytest.raises(AddressRefused, match="machine that may not be called"):
            fetch(url, allowing(url))
        assert server.asked == []


def test_the_machine_that_was_judged_is_the_one_that_is_called(monkeypatch):
    """A name that means a public machine first and this one afterwards is asked about once."""
    asked = []

    def rebound(host, port, *rest, **options):
        asked.append(host)
        place = "127.0.0.1" if len(asked) == 1 else "169.254.169.254"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (place, port))]

    with served() as server:
        url = server.url.replace("127.0.0.1", "rebinding.example")
        monkeypatch.setattr(socket, "getaddrinfo", rebound)
        assert fetch(url, allowing(url, LOOPBACK)) == {"keys": []}
    assert asked.count("rebinding.example") == 1
    assert server.headers[0]["Host"].startswith("rebinding.example:")


def test_a_name_that_also_stands_for_a_forbidden_machine_is_refused(monkeypatch):
    places = [("127.0.0.1", 1), ("10.0.0.1", 1)]
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place) for place in places]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *said, **options: found)
    with pytest.raises(AddressRefused, match="machine that may not be called"):
        fetch("http://both.example/", allowing("http://both.example/", LOOPBACK))


def test_the_next_machine_of_a_name_is_tried_when_one_is_not_there(monkeypatch):
    with served() as server:
        port = int(server.url.split(":")[2].split("/")[0])
        places = [("127.0.0.2", port), ("127.0.0.1", port)]
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place) for place in places]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *said, **options: found)
        assert fetch(server.url, allowing(server.url, LOOPBACK)) == {"keys": []}


def redirect(handler):
    send(handler, 302, b"", Location="http://127.0.0.1:9/")


def endless(handler):
    handler.send_response(200)
    handler.end_headers()
    for _ in range(1000):
        handler.wfile.write(b" " * 100_000)


def bomb(handler):
    send(handler, 200, gzip.compress(b" " * 10**7 + b"1"), Content_Encoding="gzip")


def drip(handler):
    handler.send_response(200)
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.1)


def drip_headers(handler):
    for at in range(100):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n" if at == 0 else b"X-%d: y\r\n" % at)
        handler.wfile.flush()
        time.sleep(0.1)


ANSWERS = {
    "redirect": redirect,
    "endless": endless,
    "zip bomb": bomb,
    "drops": drip,
    "drops of headers": drip_headers,
    "error": lambda handler: send(handler, 500, b"{}"),
    "not modified": lambda handler: send(handler, 304, b""),
    "no JSON": lambda handler: send(handler, 200, b"<html>"),
    "JSON without bottom": lambda handler: send(handler, 200, b"[" * 200_000),
    "not a number": lambda handler: send(handler, 200, b"NaN"),
    "too much": lambda handler: send(handler, 200, b" " * 262_145),
    "nothing": lambda handler: handler.wfile.close(),
    "no HTTP": lambda handler: handler.wfile.write(b"220 mail.example ESMTP\r\n"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_that_is_not_right_is_refused_in_time(name):
    with served() as server:
        server.answer = ANSWERS[name]
        began = time.monotonic()
        with pytest.raises(AddressRefused):
            fetch(server.url, allowing(server.url, LOOPBACK), seconds=0.5)
        assert time.monotonic() - began < 1.5
        assert len(server.asked) == 1


def test_a_host_that_is_not_there_is_refused():
    with served() as server:
        url = server.url
    for gone in (url, "https://nowhere.invalid/"):
        with pytest.raises(AddressRefused):
            fetch(gone, allowing(gone, LOOPBACK))


def test_neither_address_nor_headers_are_logged(caplog):
    """An address may name a patient, and a header holds a token."""
    caplog.set_level(logging.INFO)
    with served() as server:
        url = f"{server.url}?patient=MRN-1"
        fetch(url, allowing(server.url, LOOPBACK), headers={"Authorization": "Bearer secret"})
    assert server.asked == ["/jwks.json?patient=MRN-1"]
    assert "MRN-1" not in caplog.text
    assert "secret" not in caplog.text


def test_a_proxy_in_the_environment_is_not_used(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with served() as server:
        assert fetch(server.url, allowing(server.url, LOOPBACK)) == {"keys": []}


@pytest.fixture
def certificate(tmp_path):
    """A certificate for localhost that its own authority signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "cert.pem"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = tmp_path / "key.pem"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, private)
    addresses._tls.cache_clear()
    yield pem, context
    addresses._tls.cache_clear()


def test_over_https_the_certificate_must_name_the_host_and_come_from_a_known_authority(
    certificate, monkeypatch
):
    pem, context = certificate
    with served(context=context) as server:
        allowed = allowing(server.url, server.url.replace("localhost", "127.0.0.1"), LOOPBACK, "::1/128")
        with pytest.raises(AddressRefused):
            fetch(server.url, allowed)
        addresses._tls.cache_clear()
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        assert fetch(server.url, allowed) == {"keys": []}
        with pytest.raises(AddressRefused):
            fetch(server.url.replace("localhost", "127.0.0.1"), allowed)
        assert len(server.asked) == 1


def test_as_much_as_is_read_is_read():
    content = json.dumps("x" * (262_144 - 2)).encode()
    with served() as server:
        server.answer = lambda handler: send(handler, 200, content)
        assert len(fetch(server.url, allowing(server.url, LOOPBACK))) == 262_142
