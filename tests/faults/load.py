"""A load of writes whose acknowledged ones are remembered; the fault tests and soak.py run it against the admin.

Each write is a group that the admin adds: a session is read, a row and a log entry are written, and only a 302 acknowledges it.
"""

import re
import threading
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import requests


class Load:
    """Clients that write as fast as they are answered, or at a rate, until `stop`; a context manager."""

    def __init__(self, url, password, clients=4, rate=None):
        """Log in at `url` as appname_admin. `rate`: writes per second of all clients together; None: as fast as they can."""
        self.url, self.clients, self.pause = url, clients, clients / rate if rate else 0
        self.acknowledged, self.failed, self.stopped = [], [], threading.Event()
        self.name = uuid.uuid4().hex  # no other load's: what is there already is not written, and not acknowledged
        self.reasons = Counter()  # what the failed ones were answered
        with requests.Session() as browser:
            form = browser.get(f"{url}/admin/", timeout=10)
            fields = {"username": "appname_admin", "password": password, "csrfmiddlewaretoken": token(form)}
            browser.post(form.url, data=fields, timeout=10)
            form = browser.get(f"{url}/admin/auth/group/add/", timeout=10)
            self.token, self.cookies = token(form), browser.cookies.get_dict()

    def write(self, name, timeout=30):
        """Add one group; return the seconds that it took and whether it was acknowledged. A new session's cookie is kept."""
        begun = time.monotonic()
        try:
            answer = requests.post(
                f"{self.url}/admin/auth/group/add/", timeout=timeout, cookies=self.cookies, allow_redirects=False,
                data={"name": name, "csrfmiddlewaretoken": self.token},
            )  # fmt: skip
            done = answer.status_code == 302 and "login" not in answer.headers["Location"]
            self.cookies = self.cookies | answer.cookies.get_dict()
            said = f"{answer.status_code} {answer.headers.get('Location', '')}"
        except requests.RequestException as error:
            done, said = False, type(error).__name__
        if not done:
            self.reasons[said] += 1
        return time.monotonic() - begun, done

    def client(self, number):
        """Write until the load is stopped, one after the other."""
        count = 0
        while not self.stopped.is_set():
            name, count = f"{self.name}-{number}-{count}", count + 1
            began = time.monotonic()
            (self.acknowledged if self.write(name)[1] else self.failed).append((began, name))
            self.stopped.wait(max(0, began + self.pause - time.monotonic()))

    def __enter__(self):
        """Start the clients."""
        self.pool = ThreadPoolExecutor(self.clients)
        self.running = [self.pool.submit(self.client, number) for number in range(self.clients)]
        return self

    def __exit__(self, *_):
        """Stop the clients and wait for their last answers."""
        self.stopped.set()
        self.pool.shutdown()
        for client in self.running:
            client.result()

    def wait_for_writes(self, number=20, limit=30):
        """Return once so many more writes were acknowledged. Raises TimeoutError after `limit` seconds."""
        enough, deadline = len(self.acknowledged) + number, time.monotonic() + limit
        while len(self.acknowledged) < enough:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(self.acknowledged)} of {enough} writes were acknowledged within {limit} s")
            time.sleep(0.02)

    def lost(self, names):
        """Return the acknowledged writes that are not among the names that the database has."""
        return {name for _, name in self.acknowledged} - set(names)


def token(page):
    """Return the token that a form of Django wants back."""
    return re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)[1]
