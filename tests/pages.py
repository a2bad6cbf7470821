"""What tests do with a page: wait for it, read it, fill in its form, log in. Also the texts and routes that they look for."""

import re

import requests
from projects import PASSWORD
from shell import until

# What the examples' first pages say.
PAGE = "<h1>Flask is running</h1><p>Awesome, that worked.  Now add more code.</p>"
START_PAGE = "The install worked successfully! Congratulations!"

# The fixture `site` adds these routes to a copy of urls.py.
ROUTES = """
import os
import time
from django.db import connection
from django.http import HttpResponse

def hold(request):
    "Ask the database to wait for ten seconds."
    with connection.cursor() as cursor:
        cursor.execute("select pg_sleep(10)")
    return HttpResponse("finished")

def limit(request):
    "Return how long a query may take."
    with connection.cursor() as cursor:
        cursor.execute("show statement_timeout")
        return HttpResponse(cursor.fetchone()[0])

def eat(request):
    "Take more memory than the container may have."
    taken = []
    while True:
        taken.append(bytearray(16 * 2**20))

def slow(request):
    "Take longer than the ten seconds after which Docker kills a container by default."
    print("begun", flush=True)
    time.sleep(12)
    return HttpResponse("finished")

def inherited(request):
    "Show the names of the environment variables."
    return HttpResponse(" ".join(os.environ))

urlpatterns += [
    path("hold/", hold), path("limit/", limit), path("eat/", eat), path("slow/", slow), path("inherited/", inherited),
]
"""


def answers(url, limit=5):
    """Return whether a page answers with status 200 within `limit` seconds."""
    try:
        return requests.get(url, timeout=limit).status_code == 200
    except requests.RequestException:
        return False


def wait_for(url, limit=60):
    """Wait up to `limit` seconds until a page answers with status 200. Return the response."""
    until(lambda: answers(url), limit)
    return requests.get(url, timeout=5)


def page(url):
    """Return the text of a page, or '' if nothing answers."""
    try:
        return requests.get(url, timeout=5).text
    except requests.RequestException:
        return ""


def csrf_token(html):
    """Return the token in the form of a page. Django refuses a form that is sent without its token."""
    return re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', html)[1]


def submit(browser, url, fields, files=None, limit=5):
    """Load a page of the admin, fill in its form and send it, as a browser does. Return the answer.

    `browser` is a requests.Session. Each of the two answers may take `limit` seconds.
    """
    form = browser.get(url, timeout=limit)
    fields = {**fields, "csrfmiddlewaretoken": csrf_token(form.text)}
    return browser.post(form.url, data=fields, files=files, headers={"Referer": form.url}, timeout=limit)


def log_in(url, password=PASSWORD, user="appname_admin", browser=None, limit=5):
    """Submit the login form of /admin/. Return the HTML of the next page. Each answer may take `limit` seconds.

    A requests.Session that is passed as `browser` keeps the cookies.
    """
    return submit(browser or requests.Session(), f"{url}/admin/", {"username": user, "password": password}, limit=limit).text
