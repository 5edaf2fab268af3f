"""A real issuer of tokens: its keys, served over HTTP on loopback, and tokens good and forged."""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

ISSUER = "https://login.hospital.example"
AUDIENCE = "salvage"
LOOPBACK = "127.0.0.0/8"
DROPPED = object()


@dataclass(frozen=True)
class Signer:
    """One private key, and the algorithm and id that it signs with."""

    algorithm: str
    kid: str
    private: Any

    @classmethod
    def make(cls, algorithm: str, kid: str = "k1") -> "Signer":
        make: dict[str, Callable[[], Any]] = {
            "RS": lambda: rsa.generate_private_key(65537, 2048),
            "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
            "ES384": lambda: ec.generate_private_key(ec.SECP384R1()),
            "EdDSA": ed25519.Ed25519PrivateKey.generate,
        }
        return cls(algorithm, kid, make["RS" if algorithm.startswith("RS") else algorithm]())

    @property
    def jwk(self) -> dict[str, Any]:
        public = get_default_algorithms()[self.algorithm].to_jwk(self.private.public_key(), as_dict=True)
        return {**public, "kid": self.kid, "alg": self.algorithm, "use": "sig"}

    @property
    def pem(self) -> bytes:
        return self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def token(self, claims: dict[str, Any], **header: Any) -> str:
        """Sign claims; a header that is DROPPED is left out."""
        stated = {"alg": self.algorithm, "typ": "JWT", "kid": self.kid, **header}
        stated = {name: value for name, value in stated.items() if value is not DROPPED}
        algorithm = get_default_algorithms()[self.algorithm]
        return forged(stated, claims, lambda said: algorithm.sign(said, self.private))


def claims(**changed: Any) -> dict[str, Any]:
    """Return the claims of a good token, changed; one that is DROPPED is left out."""
    now = int(time.time())
    said = {"iss": ISSUER, "aud": AUDIENCE, "sub": "clinician-7", "exp": now + 300, "iat": now, "nbf": now}
    said |= {"scope": "openid predict"} | changed
    return {name: value for name, value in said.items() if value is not DROPPED}


def part(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def forged(header: Any, said: Any, sign: Callable[[bytes], bytes]) -> str:
    """Make a token of any parts; bytes stand for themselves."""
    parts = [x if isinstance(x, bytes) else json.dumps(x).encode() for x in (header, said)]
    signed = ".".join(map(part, parts))
    return f"{signed}.{part(sign(signed.encode()))}"


def symmetric(secret: bytes, said: dict[str, Any], **header: Any) -> str:
    """Sign with HS256, as who knows only the public key would."""
    stated = {"alg": "HS256", "typ": "JWT", **header}
    return forged(stated, said, lambda signed: hmac.digest(secret, signed, hashlib.sha256))


@dataclass
class Published:
    """What a server answers, and what it was asked."""

    signers: list[Signer] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    answer: Callable[[BaseHTTPRequestHandler], None] | None = None
    url: str = ""

    def content(self) -> bytes:
        return json.dumps({"keys": [signer.jwk for signer in self.signers]}).encode()


@contextmanager
def served(*signers: Signer, context: Any = None) -> Iterator[Published]:
    """Serve keys on loopback; with a TLS context, over https."""
    published = Published(list(signers))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            published.asked.append(self.path)
            published.headers.append(dict(self.headers))
            if published.answer is not None:
                published.answer(self)
                return
            send(self, 200, published.content())

        def log_message(self, *said: object) -> None:
            """Say nothing."""

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Say nothing of clients that hung up."""

    server = Quiet(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    host = "localhost" if context is not None else "127.0.0.1"
    published.url = f"http{'s' if context else ''}://{host}:{server.server_port}/jwks.json"
    try:
        yield published
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def send(handler: BaseHTTPRequestHandler, status: int, content: bytes, **headers: str) -> None:
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(content)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(content)


def encoded_none(said: dict[str, Any], **header: Any) -> list[str]:
    """Return tokens without signature, in every way that libraries were once deceived by."""
    return [
        jwt.encode(said, None, algorithm="none", headers=header),
        *(
            forged({"alg": alg, "typ": "JWT", **header}, said, lambda _: b"")
            for alg in ("None", "NONE", "", "nOnE")
        ),
    ]
