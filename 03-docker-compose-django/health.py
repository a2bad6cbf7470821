"""The health check of the service frontend: exit code 0 if the log-in page answers.

If you move the admin, change the path.
"""

import http.client
import os
import sys

# Django answers only if the request names an allowed host
host = os.getenv("DJANGO_ALLOWED_HOSTS", "localhost").split(",")[0].strip(" .*")
connection = http.client.HTTPConnection("127.0.0.1", 8000, timeout=3)
connection.request("GET", "/admin/login/", headers={"Host": host or "localhost"})
status = connection.getresponse().status
if status != 200:
    sys.exit(f"/admin/login/ answers with {status}")
