"""Writes to the admin from several clients, and remembers which writes were acknowledged. The tests of faults/ and swarm/ use it.

Each write adds a group: Django reads the session, and writes a row and a log entry. Only a 302 acknowledges the write.
"""

import threading
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import requests
from pages import csrf_token, log_in


class Load:
    """A context manager whose clients write until it exits, at a given rate or as fast as the server answers."""

    def __init__(self, url, password, clients=4, rate=None):
        """Log in at `url` as appname_admin. `rate` is the writes per second of all clients together; None means no limit."""
        self.url, self.clients, self.pause = url, clients, clients / rate if rate else 0
        self.acknowledged, self.failed, self.stopped = [], [], threading.Event()
        # A group's name must be new, because Django refuses a name that exists already.
        self.name = uuid.uuid4().hex
        self.reasons = Counter()  # the answers to the failed writes
        with requests.Session() as browser:
            log_in(url, password, browser=browser, limit=10)
            self.token = csrf_token(browser.get(f"{url}/admin/auth/group/add/", timeout=10).text)
            self.cookies = browser.cookies.get_dict()

    def write(self, name, timeout=30):
        """Add one group; return the seconds that it took and whether it was acknowledged. Keep the cookie of a new session."""
        begun = time.monotonic()
        try:
            answer = requests.post(
                f"{self.url}/admin/auth/group/add/", timeout=timeout, cookies=self.cookies, allow_redirects=False,
                data={"name": name, "csrfmiddlewaretoken": self.token},
            )  # fmt: skip
            done = answer.status_code == 302 and "login" not in answer.headers["Location"]
            # Django keeps each message about a new group until a page shows it. Here none does, and each write would be slower.
            kept = {name: value for name, value in answer.cookies.get_dict().items() if name != "messages"}
            self.cookies = self.cookies | kept
            said = f"{answer.status_code} {answer.headers.get('Location', '')}"
        except requests.RequestException as error:
            done, said = False, type(error).__name__
        if not done:
            self.reasons[said] += 1
        return time.monotonic() - begun, done

    def client(self, number):
        """Write one group after the other until the load stops."""
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
        """Wait until `number` more writes are acknowledged. Raise TimeoutError after `limit` seconds."""
        enough, deadline = len(self.acknowledged) + number, time.monotonic() + limit
        while len(self.acknowledged) < enough:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(self.acknowledged)} of {enough} writes were acknowledged within {limit} s")
            time.sleep(0.02)

    def lost(self, names):
        """Return the acknowledged writes that are missing from `names`, the groups in the database."""
        return {name for _, name in self.acknowledged} - set(names)
