"""Outgoing calls: an allowlist of addresses against server-side request forgery (SSRF).

Requests may name addresses (a token's ``jku``, a CDS request's ``fhirServer``). Only those under an allowed
prefix are called, over https, without redirects or proxies, and at the IP address that was checked, so that
a DNS name cannot lead elsewhere a moment later. Private networks must be allowed as such; link-local
ones, where clouds keep their metadata, never are.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any
from urllib.parse import SplitResult, urlsplit

import httpx
import orjson

from features.errors import InvalidInput, Problem
from serving.access.errors import AddressRefused

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

LARGEST_ANSWER = 262_144
SECONDS = 5.0
CONNECT_SECONDS = 2.0
PORTS = {"https": 443, "http": 80}
METADATA_ADDRESSES = frozenset(map(ipaddress.ip_address, ("100.100.100.200", "fd00:ec2::254")))
TRANSLATED = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True)
class AllowedAddresses:
    """The allowlist: URLs that begin with a prefix, at public IP addresses or in the listed networks.

    Plain http is for loopback only, and loopback only when its network is allowed.
    """

    prefixes: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()

    @classmethod
    def read(cls, setting: str) -> "AllowedAddresses":
        """Read prefixes (https://ehr.example.org/fhir) and networks (10.20.0.0/16) from a setting.

        Raises:
            InvalidInput: naming every one that is neither.

        """
        parts = setting.replace(",", " ").split()
        prefixes = [part for part in parts if "://" in part]
        networks = {part: _network(part) for part in parts if "://" not in part}
        wrong = [part for part in prefixes if _judged(part) is None]
        wrong += [part for part, network in networks.items() if network is None]
        if wrong:
            expected = "expected https://HOST[:PORT]/PATH, or a network such as 10.20.0.0/16"
            raise InvalidInput("addresses", [Problem(part, "cannot be allowed", expected) for part in wrong])
        return cls(tuple(prefixes), tuple(network for network in networks.values() if network is not None))

    def also(self, addresses: Iterable[str]) -> "AllowedAddresses":
        """Return an allowlist with some URL prefixes more."""
        return replace(self, prefixes=(*self.prefixes, *addresses))

    def require(self, url: str) -> SplitResult:
        """Return the parts of an address that begins with an allowed prefix.

        Raises:
            AddressRefused: for any other.

        """
        parts = _judged(url)
        if parts is None or not any(_begins(parts, _judged(prefix)) for prefix in self.prefixes):
            raise AddressRefused("this address is not among SALVAGE_ALLOWED_ADDRESSES")
        return parts

    def reaches(self, address: Address, *, scheme: str) -> bool:
        """Tell whether an IP address may be called by this scheme."""
        meant = _meant(address)
        if meant.is_link_local or meant.is_multicast or meant.is_unspecified or meant in METADATA_ADDRESSES:
            return False
        if scheme == "http" and not meant.is_loopback:
            return False
        return meant.is_global or any(meant in network for network in self.networks)


async def fetch_json(
    url: str,
    *,
    allowed: AllowedAddresses,
    headers: Mapping[str, str] | None = None,
    largest: int = LARGEST_ANSWER,
    seconds: float = SECONDS,
) -> Any:
    """Return what an allowed address answers to GET, as JSON; ``seconds`` is for all of it.

    Raises:
        AddressRefused: when it is not allowed or not there, redirects, or answers too much, late or no JSON.

    """
    parts = allowed.require(url)
    try:
        async with asyncio.timeout(seconds):
            machines = await _machines(parts, allowed)
            content = await _get(parts, machines, headers or {}, largest)
        return orjson.loads(content)
    except (TimeoutError, OSError, httpx.HTTPError, httpx.InvalidURL, orjson.JSONDecodeError) as error:
        raise AddressRefused("an allowed address did not answer as it should") from error


async def _machines(parts: SplitResult, allowed: AllowedAddresses) -> list[Address]:
    """Resolve a host to IP addresses; refuse it when any of them is forbidden."""
    host, port = str(parts.hostname), parts.port or PORTS[parts.scheme]
    resolved = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    machines = [ipaddress.ip_address(str(place[0]).partition("%")[0]) for *_, place in resolved]
    if not all(allowed.reaches(machine, scheme=parts.scheme) for machine in machines):
        raise AddressRefused("this address leads to a machine that may not be called")
    return machines


async def _get(
    parts: SplitResult, machines: Sequence[Address], headers: Mapping[str, str], largest: int
) -> bytes:
    """Ask the first machine that can be reached.

    The transport alone is used: a client would follow the environment's proxies, and log addresses, which
    may name patients.
    """
    async with httpx.AsyncHTTPTransport(verify=_tls(), trust_env=False) as transport:
        for machine in machines:
            try:
                return await _ask(transport, _request(parts, machine, headers), largest)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
    raise AddressRefused("an allowed address cannot be reached")


def _request(parts: SplitResult, machine: Address, headers: Mapping[str, str]) -> httpx.Request:
    """Return a request to one IP address whose TLS certificate must name the URL's host."""
    literal = f"[{machine}]" if machine.version == 6 else str(machine)
    pinned = parts._replace(netloc=f"{literal}:{parts.port or PORTS[parts.scheme]}").geturl()
    own = {"Accept-Encoding": "identity", "Connection": "close", "Host": parts.netloc}
    extensions = {"sni_hostname": str(parts.hostname), "timeout": {"connect": CONNECT_SECONDS}}
    return httpx.Request(
        "GET", pinned, headers={"Accept": "application/json", **headers, **own}, extensions=extensions
    )


async def _ask(transport: httpx.AsyncHTTPTransport, request: httpx.Request, largest: int) -> bytes:
    response = await transport.handle_async_request(request)
    try:
        if response.status_code != httpx.codes.OK or response.headers.get("content-encoding"):
            raise AddressRefused("an allowed address did not answer as it should")
        content = bytearray()
        async for chunk in response.aiter_raw():
            content += chunk
            if len(content) > largest:
                raise AddressRefused("an allowed address answered more than is read")
        return bytes(content)
    finally:
        await response.aclose()


def is_address(text: str) -> bool:
    """Tell whether a text is an address that could be allowed.

    >>> [is_address(text) for text in ("https://ehr.example.org/fhir", "ehr.example.org", "https://a@b/")]
    [True, False, False]
    """
    return _judged(text) is not None


@cache
def _tls() -> ssl.SSLContext:
    """Return a TLS context that trusts the system's certificate authorities, or those of SSL_CERT_FILE."""
    return ssl.create_default_context()


def _judged(url: str) -> SplitResult | None:
    """Return a URL's parts, None where parsers may disagree on them (user info, dot segments)."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    plain = url.isascii() and url.isprintable() and not any(sign in url for sign in " \\#")
    steps = parts.path.lower().replace("%2e", ".").replace("%2f", "/").split("/")
    if not plain or "@" in parts.netloc or parts.scheme not in PORTS or not parts.hostname or port == 0:
        return None
    return None if {".", ".."} & set(steps) else parts


def _begins(parts: SplitResult, prefix: SplitResult | None) -> bool:
    """Tell whether a URL has the origin of a prefix, and its path as leading segments."""
    if prefix is None or _origin(parts) != _origin(prefix):
        return False
    path, start = parts.path or "/", prefix.path or "/"
    return path == start or path.startswith(start if start.endswith("/") else start + "/")


def _origin(parts: SplitResult) -> tuple[str, str | None, int]:
    return parts.scheme, parts.hostname, parts.port or PORTS[parts.scheme]


def _meant(address: Address) -> Address:
    """Return the IPv4 address embedded in an IPv6 one (mapped, 6to4, NAT64), else the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in TRANSLATED:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _network(text: str) -> Network | None:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        return None
