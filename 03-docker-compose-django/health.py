"""The health check of the service frontend. If you move the admin, change PATH."""

import http.client
import os
import sys

PATH = "/admin/login/"

# Django answers only if the request names an allowed host
host = os.getenv("DJANGO_ALLOWED_HOSTS", "localhost").split(",")[0].strip(" .*")

# Production's proxy sends the second header. A redirect is an answer, too
headers = {"Host": host or "localhost", "X-Forwarded-Proto": "https"}
connection = http.client.HTTPConnection("127.0.0.1", 8000, timeout=10)
connection.request("GET", PATH, headers=headers)
status = connection.getresponse().status
if status >= 400:
    sys.exit(f"{PATH} answers with {status}")
