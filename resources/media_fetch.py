"""One look at a public address: is it there, of which type and how large, without reading more than that takes.

What belongs here: the way to a server and its answer. Which addresses are looked at, how many at a time and for how
long is `media`; what the answer is worth is `journey.media`.

An address comes from a campaign or from data, and the answer of whoever asks it tells something of the network that he
stands in: so each hop's name is resolved once, every address of it must be public, and the connection goes to the
address that was looked at (a name that resolves to something else a moment later gains nothing).
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import httpx

from journey.media import MOST_BYTES, media_problem

HOPS = 5
CONNECT, READ = 4.0, 5.0  # seconds
HEADERS = {"User-Agent": "estafette", "Accept": "*/*", "Accept-Encoding": "identity"}
_REDIRECTS = (301, 302, 303, 307, 308)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
#: Which Python calls global, all of them or those before 3.13
_NOT_PUBLIC = [ipaddress.ip_network(one) for one in ("192.0.0.0/24", "192.88.99.0/24", "fec0::/10")]

#: host, port → IP addresses as text. OSError: there are none.
Resolve = Callable[[str, int], Awaitable[list[str]]]


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why Meta could not fetch something. `private`: it is an address of a private network, which nobody but a
    neighbour can fetch: no use to try again. `silent`: its server does not answer."""

    why: str
    private: bool = False
    silent: bool = False


class Allowance:
    """How many bytes may still be read for files whose servers don't say their size."""

    def __init__(self, left: int) -> None:
        self.left = left


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    content_type: str
    size: int | None

    def problem(self, kind: str) -> str | None:
        if not 200 <= self.status < 300:
            return f"its server answers HTTP {self.status}"
        return media_problem(kind, self.content_type, self.size)


class _Stopped(Exception):
    def __init__(self, why: str, *, private: bool = False, silent: bool = False) -> None:
        self.trouble = Trouble(why, private, silent)
        super().__init__(why)


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a name, as the system knows them."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def is_private(address: str) -> bool:
    """Whether an IP address is anything but public: private, loopback, link-local, multicast, reserved, or an IPv6
    address in which such an IPv4 one is wrapped."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        wrapped = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
        if ip in _NAT64:
            wrapped.append(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
        if any(one is not None and is_private(str(one)) for one in wrapped):
            return True
        if ip.ipv4_mapped is not None or ip in _NAT64:
            return False
    named = any(ip in one for one in _NOT_PUBLIC)
    return named or not ip.is_global or ip.is_multicast or ip.is_reserved or ip.is_unspecified


async def look(
    client: httpx.AsyncClient,
    kind: str,
    url: str,
    *,
    allow_private: bool,
    allowance: Allowance,
    resolve: Resolve = resolve,
) -> Trouble | None:
    """What keeps Meta from fetching `url` as `kind` (image, video, document), or None. Never raises for it.

    Asks by HEAD; where that is refused, leaves something open or says what would be wrong, by GET for the first byte:
    there are servers that treat HEAD carelessly, and GET is what Meta does.
    """
    way = _Way(client, resolve, allow_private)
    try:
        answer = await way.ask("HEAD", url, kind, allowance)
        if answer.size is None or answer.problem(kind) is not None:
            answer = await way.ask("GET", url, kind, allowance)
    except _Stopped as stopped:
        return stopped.trouble
    problem = answer.problem(kind)
    return Trouble(problem) if problem is not None else None


@dataclass(frozen=True)
class _Way:
    """The way to a file, from redirect to redirect."""

    client: httpx.AsyncClient
    resolve: Resolve
    allow_private: bool

    async def ask(self, method: str, url: str, kind: str, allowance: Allowance) -> _Answer:
        try:
            target = httpx.URL(url)
            for _ in range(HOPS + 1):
                answer = await self._hop(method, target, kind, allowance)
                if isinstance(answer, _Answer):
                    return answer
                target = target.join(answer)
        except (httpx.InvalidURL, ValueError):
            raise _Stopped("it is no web address") from None
        raise _Stopped(f"it is redirected more than {HOPS} times")

    async def _hop(self, method: str, url: httpx.URL, kind: str, allowance: Allowance) -> _Answer | str:
        """The answer, or the address that it points to."""
        host, addresses = await self._addresses(url)
        more = {"Range": "bytes=0-0"} if method == "GET" else {}
        for place, address in enumerate(addresses):
            request = self.client.build_request(
                method,
                url.copy_with(host=address, fragment=None),
                headers={**HEADERS, "Host": url.netloc.decode("ascii"), **more},
                extensions={"sni_hostname": host},
            )
            try:
                response = await self.client.send(request, stream=True, follow_redirects=False)
            except httpx.ConnectError as error:
                if "CERTIFICATE_VERIFY_FAILED" in str(error):
                    raise _Stopped(f"the certificate of {host} is not one to trust") from None
                if place + 1 == len(addresses):
                    raise _Stopped(f"there is no connection to {host}", silent=True) from None
                continue
            except httpx.TimeoutException:
                raise _Stopped(f"{host} does not answer", silent=True) from None
            except httpx.HTTPError:
                raise _Stopped(f"the connection to {host} broke", silent=True) from None
            try:
                return await self._read(response, method, kind, allowance)
            except httpx.HTTPError:
                raise _Stopped(f"the connection to {host} broke", silent=True) from None
            finally:
                await response.aclose()
        raise _Stopped(f"{host} has no address")

    async def _addresses(self, url: httpx.URL) -> tuple[str, list[str]]:
        """The host's name, and at most two addresses to try. Refuses what is not public."""
        if url.scheme not in ("http", "https") or not url.raw_host:
            raise _Stopped("it is no http(s) address")
        host = url.raw_host.decode("ascii").strip("[]")
        try:
            addresses = await self.resolve(host, url.port or (443 if url.scheme == "https" else 80))
        except (OSError, UnicodeError):
            raise _Stopped(f"nobody knows a server {host}") from None
        if not self.allow_private and any(is_private(one) for one in addresses):
            raise _Stopped(f"{host} is in a private network, where Meta can't fetch it", private=True)
        by_family = sorted(addresses, key=lambda one: ":" in one)  # IPv4 is everywhere
        return host, by_family[:1] + [one for one in by_family if ":" in one][:1]

    async def _read(self, response: httpx.Response, method: str, kind: str, allowance: Allowance) -> _Answer | str:
        headers = response.headers
        if response.status_code in _REDIRECTS and headers.get("location"):
            return str(headers["location"])
        content_type, size = headers.get("content-type", ""), _size(response)
        good = response.status_code == 200 and media_problem(kind, content_type, None) is None
        if method == "GET" and good and size is None:
            size = await _measured(response, MOST_BYTES[kind], allowance)
        return _Answer(response.status_code, content_type, size)


def _size(response: httpx.Response) -> int | None:
    """The whole file's size in bytes, by what the server says."""
    if response.status_code == 206:
        total = response.headers.get("content-range", "").rpartition("/")[2]
    else:
        total = response.headers.get("content-length", "")
    return int(total) if total.isascii() and total.isdecimal() and len(total) < 16 else None


async def _measured(response: httpx.Response, most: int, allowance: Allowance) -> int | None:
    """The size of a file by reading it, up to one byte more than `most`; None where the allowance does not reach."""
    size = 0
    async for piece in response.aiter_raw():
        size += len(piece)
        allowance.left -= len(piece)
        if size > most:
            return size
        if allowance.left <= 0:
            return None
    return size
