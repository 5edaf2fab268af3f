"""Loopback: addresses that only this machine can reach, and whether a request names one.

A page in a browser may be of a domain that was made to lead to this machine (DNS rebinding); its requests
come from here, but the host that they name is that domain.
"""

import ipaddress
from urllib.parse import urlsplit


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach a host's address.

    >>> [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "ward.example.org")]
    [True, True, True, False, False]
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def names_loopback(url: str) -> bool:
    """Tell whether an address names this machine by a name that only it has.

    >>> [names_loopback(url) for url in ("http://localhost:8000/v1", "//[::1]", "//ward.example", "//[")]
    [True, True, False, False]
    """
    try:
        return is_loopback(urlsplit(url).hostname or "")
    except ValueError:
        return False
