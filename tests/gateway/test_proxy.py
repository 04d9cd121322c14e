"""The settings of docs/behind-a-proxy.md, in a real nginx and a real Caddy, where they are installed."""

import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import Request
from fastapi.responses import PlainTextResponse
from pydantic import SecretStr

from gateway.app import create_app
from tests.gateway.pages import HIDDEN, PASSWORD, make_user
from tests.gateway.test_webhooks import SECRET, signed
from tests.gateway.wire import serving

PAGE = (Path(__file__).parents[2] / "docs" / "behind-a-proxy.md").read_text(encoding="utf-8")
HOST = "estafette.example.com"
NGINX = """daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{}}
http {{
    access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
{settings}
}}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def certificate(folder: Path) -> tuple[Path, Path]:
    made = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={HOST}"]
    command += ["-addext", f"subjectAltName=DNS:{HOST}", "-out", str(made[0]), "-keyout", str(made[1])]
    subprocess.run(command, check=True, capture_output=True)
    return made


def block(language: str) -> str:
    """The settings as the page has them."""
    (found,) = re.findall(rf"## {language}\n.*?```\w*\n(.+?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


def command(kind: str, folder: Path, gateway: int, port: int, plain: int) -> list[str]:
    """What starts a proxy by the page's settings, with these ports and a certificate of our own."""
    cert, key = certificate(folder)
    settings = block("nginx" if kind == "nginx" else "Caddy").replace("127.0.0.1:8000", f"127.0.0.1:{gateway}")
    if kind == "nginx":
        settings = settings.replace("listen 443 ", f"listen 127.0.0.1:{port} ")
        settings = settings.replace("listen 80;", f"listen 127.0.0.1:{plain};")
        settings = re.sub(r"(ssl_certificate +)\S+;", rf"\1{cert};", settings)
        settings = re.sub(r"(ssl_certificate_key +)\S+;", rf"\1{key};", settings)
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder, settings=settings))
        return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    settings = settings.replace(f"{HOST} {{", f"{HOST}:{port} {{\n    bind 127.0.0.1\n    tls {cert} {key}", 1)
    assert settings.startswith("{\n"), "the page begins with Caddy's own options"
    options = f"{{\n    admin off\n    auto_https disable_redirects\n    http_port {plain}\n"
    settings = settings.replace("read_header 30s", "read_header 1s")  # nobody waits for a test
    (folder / "Caddyfile").write_text(settings.replace("{\n", options, 1))
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


class Outside:
    """The world, on the other side of a proxy."""

    def __init__(self, port: int, plain: int, home: Path) -> None:
        self.port, self.plain, self.home = port, plain, home
        self.http = httpx.Client(base_url=f"https://127.0.0.1:{port}", verify=False, trust_env=False, timeout=20)

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        headers = {"Host": HOST, **more.pop("headers", {})}
        return self.http.request(method, path, headers=headers, extensions={"sni_hostname": HOST}, **more)

    def log_in(self) -> httpx.Response:
        hidden = dict(HIDDEN.findall(self.ask("GET", "/login").text))
        return self.ask("POST", "/login", data={**hidden, "name": "olga", "password": PASSWORD})


@pytest.fixture(params=["nginx", "caddy"])
def outside(request: pytest.FixtureRequest, make_home: Any, tmp_path: Path) -> Iterator[Outside]:
    if shutil.which(request.param) is None or shutil.which("openssl") is None:
        pytest.skip(f"{request.param} is not installed")
    stage = make_home()
    make_user(stage)
    app = create_app(Path(stage.path), app_secret=SecretStr(SECRET), verify_token=None)

    @app.get("/api/whence", include_in_schema=False)
    async def whence(request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"{request.client.host if request.client else None} {request.url}")

    folder = tmp_path / "proxy"
    folder.mkdir()
    port, plain = free_port(), free_port()
    with serving(app, "127.0.0.1") as line:
        places = {"XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "HOME": str(folder)}
        proxy = subprocess.Popen(
            command(request.param, folder, line.where[1], port, plain),
            env={**os.environ, **places}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            for _ in range(400):
                with socket.socket() as tried:
                    if tried.connect_ex(("127.0.0.1", port)) == 0:
                        break
                assert proxy.poll() is None, (folder / "error.log").read_text()
                time.sleep(0.05)
            yield Outside(port, plain, Path(stage.path))
        finally:
            proxy.terminate()
            proxy.wait(20)


def test_what_a_proxy_by_our_settings_lets_in_and_what_it_does_not(outside: Outside) -> None:
    body = b'{"text": "d\xc3\xa9j\xc3\xa0 \\u00e9 \xf0\x9f\x98\x80",\r\n "b":  1}' + b" " * 2_900_000
    answer = outside.ask("POST", "/webhooks/whatsapp", content=body, headers=signed(body))
    assert answer.status_code == 200, answer.text
    (file,) = (outside.home / "landing" / "webhooks").glob("[!.]*")
    assert len(file.read_bytes()) > len(body)
    assert outside.ask("POST", "/webhooks/whatsapp", content=body, headers=signed(b"x")).status_code == 401
    # 502: the gateway refuses before it has read everything, and the proxy was still writing.
    assert outside.ask("POST", "/api/events", content=b" " * 12_000_000).status_code in (401, 413, 502)
    assert outside.ask("GET", "/metrics").status_code == 404
    assert outside.ask("GET", "/healthz").json() == {"status": "ok"}
    assert outside.ask("GET", "/docs/api").status_code == 200
    # Whence a request came is what the proxy saw, whatever the client says, and it came by https.
    spoofed = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "http", "X-Real-IP": "203.0.113.7"}
    assert outside.ask("GET", "/api/whence", headers=spoofed).text == f"127.0.0.1 https://{HOST}/api/whence"


def test_pages_behind_a_proxy_have_secure_cookies_and_hear_what_happens_as_it_happens(outside: Outside) -> None:
    answer = outside.log_in()
    assert answer.status_code == 303 and answer.headers["location"] == "/"
    session = next(one for one in answer.headers.get_list("set-cookie") if one.startswith("estafette_session"))
    assert "Secure" in session and "HttpOnly" in session
    assert answer.headers["strict-transport-security"]
    cookie = session.partition(";")[0]
    headers = {"Host": HOST, "Cookie": cookie, "Accept": "text/event-stream"}
    with outside.http.stream("GET", "/inbox/events", headers=headers, extensions={"sni_hostname": HOST}) as stream:
        assert stream.status_code == 200
        assert next(line for line in stream.iter_lines() if line.startswith("data:"))  # the stream goes on


def test_caddy_does_not_wait_for_who_says_nothing(outside: Outside, request: pytest.FixtureRequest) -> None:
    if "[nginx]" in request.node.name:
        pytest.skip("nginx waits a minute by itself")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for said in (b"", b"GET /healthz HTTP/1.1\r\nHost: "):
        plain = socket.create_connection(("127.0.0.1", outside.port), timeout=20)
        with context.wrap_socket(plain, server_hostname=HOST) as connection:
            connection.sendall(said)
            assert connection.recv(1_000)[:12] in (b"", b"HTTP/1.1 408", b"HTTP/1.1 400")
    body = b"{}"
    assert outside.ask("POST", "/webhooks/whatsapp", content=body, headers=signed(body)).status_code == 200


def test_nginx_leads_from_http_to_https(outside: Outside, request: pytest.FixtureRequest) -> None:
    if "nginx" not in request.node.name.partition("[")[2]:
        pytest.skip("Caddy does so by itself, on port 80")
    answer = httpx.get(f"http://127.0.0.1:{outside.plain}/inbox?q=1", headers={"Host": HOST}, trust_env=False)
    assert (answer.status_code, answer.headers["location"]) == (301, f"https://{HOST}/inbox?q=1")
