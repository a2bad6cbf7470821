"""Malformed, slow and large requests to production: none of them blocks other clients."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from figures import figure
from pages import answers


def talk(shop, data, limit=10):
    """Send bytes; return the first bytes of the answer, or b"" if the server closes the connection. Raise TimeoutError."""
    with socket.create_connection(("127.0.0.1", shop.port), timeout=limit) as connection:
        try:
            connection.sendall(data)
            return connection.recv(200)
        except ConnectionError:
            return b""


def test_a_header_of_ten_megabytes_is_refused(shop):
    answer = talk(shop, b"GET /admin/login/ HTTP/1.1\r\nHost: localhost\r\nX-Large: " + b"a" * 10 * 2**20 + b"\r\n\r\n")
    assert b" 200 " not in answer
    assert answers(f"{shop.url}/admin/login/")


@pytest.mark.parametrize(
    "path", ["/static/../settings.py", "/static/../../etc/passwd", "/static/%2e%2e/%2e%2e/etc/passwd", "/static//etc/passwd",
             "/static/..%2f..%2fetc/passwd", "/media/../etc/passwd", "/media/%2e%2e/etc/passwd"],
)  # fmt: skip
def test_no_path_reads_a_file_outside_static_and_media(shop, path):
    answer = talk(shop, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert b" 200 " not in answer and b"root:" not in answer
    assert talk(shop, b"GET /static/admin/css/nowhere.css HTTP/1.1\r\nHost: localhost\r\n\r\n").startswith(b"HTTP/1.1 404")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "TRACE", "PATCH", "BREW"])
def test_unexpected_methods_are_refused(shop, method):
    assert requests.request(method, f"{shop.url}/admin/login/", timeout=5).status_code in (400, 403, 405, 411, 501)


def test_200_clients_with_slow_headers_do_not_block_others(shop):
    slow = [socket.create_connection(("127.0.0.1", shop.port), timeout=5) for _ in range(200)]
    try:
        taken = []
        # Each of the 200 clients sends one byte a second.
        for letter in b"GET /a":
            for connection in slow:
                connection.sendall(bytes([letter]))
            begun = time.monotonic()
            while time.monotonic() < begun + 1:
                before = time.monotonic()
                assert answers(f"{shop.url}/admin/login/")
                taken.append(time.monotonic() - before)
    finally:
        for connection in slow:
            connection.close()
    figure("200 clients that send one header byte a second", f"others wait {max(taken):.2f} s at most")


def test_200_clients_with_slow_bodies_do_not_block_others(shop):
    # If the request has this cookie, Django reads the body, because the body may contain the CSRF token.
    cookie = "csrftoken=" + "a" * 32
    form = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000"
    head = f"POST /admin/login/ HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n{form}\r\n\r\n".encode()
    slow = [socket.create_connection(("127.0.0.1", shop.port), timeout=5) for _ in range(200)]
    try:
        for connection in slow:
            connection.sendall(head)
        # Give the server time to accept all of them.
        time.sleep(1)
        with ThreadPoolExecutor(8) as pool:
            served = sum(pool.map(lambda _: answers(f"{shop.url}/admin/login/", limit=3), range(80)))
    finally:
        for connection in slow:
            connection.close()
    assert served == 80
    figure("200 clients with slow bodies", f"{served} of 80 requests of others are answered")


def test_many_large_uploads_at_once_restart_nothing_and_leave_no_files(shop):
    # The form has no file field. Django reads the upload anyway, because it looks for the CSRF token in the body.
    # The proxy passes on complete requests only, so /tmp holds at most eight files at a time.
    cookies = {"csrftoken": "a" * 32}

    def upload(_):
        files = {"file": b"a" * 9 * 10**6}
        return requests.post(f"{shop.url}/admin/login/", files=files, cookies=cookies, timeout=60).status_code

    before = [shop.container(service)["State"]["StartedAt"] for service in shop.names]
    with ThreadPoolExecutor(20) as pool:
        codes = list(pool.map(upload, range(60)))
    assert set(codes) == {403}
    assert answers(f"{shop.url}/admin/login/")
    assert [shop.container(service)["State"]["StartedAt"] for service in shop.names] == before
    assert shop.sh("docker compose exec -T frontend ls -A /tmp") == ""
    figure("60 uploads of 9 MB, 20 at once", "all are read, nothing restarts, nothing is left in /tmp")
