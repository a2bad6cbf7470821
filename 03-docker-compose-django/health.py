"""Docker's health check (HEALTHCHECK in the Dockerfile): exit code 0 where the log-in page answers with 200, else 1.

If you move the admin, change this path.
"""

import os
import sys
from http.client import HTTPConnection

# In production Django answers only to its allowed hosts, and may send whoever comes without TLS elsewhere.
host = os.getenv("DJANGO_ALLOWED_HOSTS", "localhost").split(",")[0].lstrip(".*") or "localhost"
connection = HTTPConnection("127.0.0.1", 8000, timeout=3)
connection.request("GET", "/admin/login/", headers={"Host": host, "X-Forwarded-Proto": "https"})
status = connection.getresponse().status
sys.exit(0 if status == 200 else f"/admin/login/ answers with {status}")
