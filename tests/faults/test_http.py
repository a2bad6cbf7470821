"""Odd requests to production over a raw socket: none of them stops the others."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from conftest import answers, figure, until


def talk(shop, data, limit=10):
    """Send bytes; return the first bytes of the answer, or b"" where the server ends the connection."""
    with socket.create_connection(("127.0.0.1", shop.port), timeout=limit) as connection:
        try:
            connection.sendall(data)
            return connection.recv(200)
        except OSError:
            return b""


def test_a_header_of_ten_megabytes_is_refused(shop):
    answer = talk(shop, b"GET /admin/login/ HTTP/1.1\r\nHost: localhost\r\nX-Large: " + b"a" * 10 * 2**20 + b"\r\n\r\n")
    assert b" 200 " not in answer
    assert answers(f"{shop.url}/admin/login/")


@pytest.mark.parametrize(
    "path", ["/static/../settings.py", "/static/../../etc/passwd", "/static/%2e%2e/%2e%2e/etc/passwd", "/static//etc/passwd",
             "/static/..%2f..%2fetc/passwd", "/static/../manifest/staticfiles.json"],
)  # fmt: skip
def test_no_path_leads_out_of_the_static_files(shop, path):
    answer = talk(shop, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert b" 200 " not in answer and b"root:" not in answer
    assert talk(shop, b"GET /static/admin/css/nowhere.css HTTP/1.1\r\nHost: localhost\r\n\r\n").startswith(b"HTTP/1.1 404")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "TRACE", "PATCH", "BREW"])
def test_other_methods_are_refused_and_change_nothing(shop, method):
    assert requests.request(method, f"{shop.url}/admin/login/", timeout=5).status_code in (400, 403, 405, 501)


def test_two_hundred_slow_headers_do_not_stop_others(shop):
    slow = [socket.create_connection(("127.0.0.1", shop.port), timeout=5) for _ in range(200)]
    try:
        taken = []
        for letter in b"GET /a":  # a byte a second from each of them
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


def test_slow_bodies_hold_a_thread_each_and_others_are_served_again_afterwards(shop):
    # With the cookie Django reads the body, to find the token in it.
    cookie = "csrftoken=" + "a" * 32
    form = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000"
    head = f"POST /admin/login/ HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n{form}\r\n\r\n".encode()
    served = {}
    for number in (1, 8, 200):
        slow = [socket.create_connection(("127.0.0.1", shop.port), timeout=5) for _ in range(number)]
        try:
            for connection in slow:
                connection.sendall(head)
            time.sleep(1)  # so that all are with the server
            with ThreadPoolExecutor(8) as pool:
                served[number] = sum(pool.map(lambda _: answers(f"{shop.url}/admin/login/", limit=3), range(8)))
        finally:
            for connection in slow:
                connection.close()
        until(lambda: answers(f"{shop.url}/admin/login/", limit=2), limit=30)
    assert served[1] >= 4  # the README names two workers of four threads each, and the proxy that mends it
    figure("slow bodies", ", ".join(f"while {number} go on, {count} of 8 others are served" for number, count in served.items()))
