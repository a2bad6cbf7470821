"""Open an example in Chromium and print a screenshot as PNG. Usage: browse.py SIZE page URL TEXT, or browse.py SIZE admin URL.

test_pictures.py runs it in the network of the example's container. `admin` logs in with the environment variables
DJANGO_SUPERUSER and DJANGO_SUPERUSER_PASSWORD. Fails if the browser's console would show an error.
"""

import os
import sys
from urllib.parse import urlsplit

from playwright.sync_api import Error, expect, sync_playwright

# A border, because the README's background is white, too.
FRAME = "body::after { content: ''; position: fixed; inset: 0; border: 1px solid #d1d9e0; pointer-events: none }"


def shot(tab):
    """Return a screenshot, once all icons are loaded."""
    tab.wait_for_load_state("networkidle")
    # A page with a Content Security Policy would refuse the border and report an error in the console.
    policy = "content-security-policy" in tab.request.get(tab.url).headers
    # Django's start page has an animated rocket.
    return tab.screenshot(style=None if policy else FRAME, animations="disabled")


def page(tab, url, text):
    """Open a page that must contain the text; return its screenshot."""
    tab.goto(url)
    expect(tab.locator("body")).to_contain_text(text)
    return shot(tab)


def admin(tab, url):
    """Log in, change the administrator's first name, log out; return a screenshot of the page after the login."""
    name = os.environ["DJANGO_SUPERUSER"]
    tab.goto(f"{url}/admin/")
    tab.get_by_label("Username").fill(name)
    tab.get_by_label("Password").fill(os.environ["DJANGO_SUPERUSER_PASSWORD"])
    tab.get_by_role("button", name="Log in").click()
    expect(tab.get_by_role("heading", name="Site administration")).to_be_visible()
    picture = shot(tab)

    tab.get_by_role("link", name="Users", exact=True).click()
    tab.get_by_role("link", name=name, exact=True).click()
    tab.get_by_label("First name").fill("Ada")
    tab.get_by_role("button", name="Save", exact=True).click()
    expect(tab.get_by_text("was changed successfully")).to_be_visible()
    expect(tab.get_by_role("cell", name="Ada")).to_be_visible()

    tab.get_by_role("button", name="Log out").click()
    expect(tab.get_by_text("Thanks for spending some quality time")).to_be_visible()
    tab.goto(f"{url}/admin/")
    expect(tab.get_by_label("Password")).to_be_visible()
    return picture


def main():
    """Open the browser and print the screenshot, or exit with a list of errors."""
    size, what, url, *words = sys.argv[1:]
    width, height = map(int, size.split("x"))
    wrong, files = [], []

    def answered(response):
        if urlsplit(response.url).path.startswith("/static/"):
            files.append(response.url)
            # 304: a file that the browser has already, and asked for again.
            if response.status not in (200, 304):
                wrong.append(f"{response.status} for the static file {response.url}")
        elif response.status >= 400:
            wrong.append(f"{response.status} for {response.url}")

    def said(line):
        # Chromium always requests this icon, and the examples have none.
        if line.type == "error" and urlsplit(line.location["url"]).path != "/favicon.ico":
            wrong.append(f"console: {line.text} ({line.location['url']})")

    with sync_playwright() as playwright:
        # Chromium cannot create its own sandbox inside a container. The container is the sandbox.
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium-headless-shell", chromium_sandbox=False)
        tab = browser.new_page(viewport={"width": width, "height": height})
        tab.set_default_timeout(10_000)
        expect.set_options(timeout=10_000)
        tab.on("response", answered)
        tab.on("requestfailed", lambda request: wrong.append(f"no answer for {request.url}: {request.failure}"))
        tab.on("console", said)
        tab.on("pageerror", lambda error: wrong.append(f"JavaScript: {error}"))
        try:
            picture = {"page": page, "admin": admin}[what](tab, url, *words)
            tab.wait_for_load_state("networkidle")
        except (AssertionError, Error) as error:
            # Playwright's messages contain the text that was typed into each field.
            wrong.append(str(error).replace(os.environ.get("DJANGO_SUPERUSER_PASSWORD") or "\0", "(the password)"))
        browser.close()
    if what == "admin" and not files:
        wrong.append("the admin asked for no static file")
    if wrong:
        sys.exit("error: in the browser:\n" + "\n".join(dict.fromkeys(wrong)))
    sys.stdout.buffer.write(picture)


if __name__ == "__main__":
    main()
