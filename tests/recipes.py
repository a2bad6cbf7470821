"""Does what the pages in 03-docker-compose-django/recipes say, as their reader would: writes files, changes them, runs commands.

The paragraph above a block begins with the names of files. A `diff` block changes them, and any other block is the whole file.
The first file must be there, the others are changed if they are. An `sh` block is run in the project's folder. A comment
`<!-- skip: next "reason" -->` skips a block.
"""

import re

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMES = re.compile(r"(?:\d+\. )?((?:(?:,? and )?`[^` ]+`)+)")

# These take long, so they wait until something needs their result. One run then does for several sections or pages.
LOCK, UP, PRODUCTION = SLOW = ["make lock", "make up", "make -C production up"]


def steps(page, heading=""):
    """Return the blocks under a heading of level 2, or those above the first one, as (language, content, names of files)."""
    sections = re.split(r"^## (.*)\n", f"## \n{page.read_text()}", flags=re.MULTILINE)
    text = dict(zip(sections[1::2], sections[2::2], strict=True))[heading]
    found, end = [], 0
    for block in BLOCK.finditer(text):
        above, end = text[end : block.start()].strip().split("\n\n")[-1], block.end()
        names = NAMES.match(above)
        if not above.startswith("<!-- skip"):
            found.append((block[1], block[2], re.findall("`(.*?)`", names[1]) if names else []))
    return found


def change(path, diff):
    """Apply a diff without line numbers. `@@` separates its parts. Raise AssertionError unless each fits exactly once."""
    for part in re.split(r"^@@.*\n", diff, flags=re.MULTILINE):
        lines = [line or " " for line in part.splitlines()]
        assert lines and all(line[0] in " +-" for line in lines), f"not a diff:\n{part}"
        old, new = ("".join(f"{line[1:]}\n" for line in lines if line[0] in signs) for signs in (" -", " +"))
        text = f"\n{path.read_text()}"
        assert old and text.count(f"\n{old}") == 1, f"{path} does not contain exactly once:\n{old}"
        path.write_text(text.replace(f"\n{old}", f"\n{new}")[1:])


class Reader:
    """Follows the pages in a project, which has `folder` and `sh`."""

    def __init__(self, project):
        """Nothing waits yet."""
        self.project, self.waiting = project, []

    def follow(self, page, *headings):
        """Do what the sections of a page say, without the slow commands at their end. Return what the other commands printed."""
        path = self.project.folder / "recipes" / page
        done = [self.do(path, *step) for heading in headings or [""] for step in steps(path, heading)]
        assert done, f"{page} has no block under {headings}"
        return "\n".join(done)

    def do(self, page, language, content, names):
        """Do what one block says. Return what its commands printed."""
        if language == "sh":
            lines = content.splitlines()
            self.waiting += [line for line in lines if line in SLOW and line not in self.waiting]
            script = "\n".join(line for line in lines if line not in SLOW)
            if not script:
                return ""
            self.catch_up(LOCK, *([UP] if "docker compose" in script else []), *([PRODUCTION] if "cd production" in script else []))
            return self.project.sh(f"set -e\n{script}")
        assert names, f"{page.name} names no file above this block:\n{content}"
        for number, name in enumerate(names):
            path = self.project.folder / name
            if language != "diff":
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content)
            elif path.exists() or not number:
                change(path, content)
        return ""

    def catch_up(self, *commands):
        """Run those of the slow commands that wait. Return what they printed."""
        now = [command for command in commands or (LOCK, UP) if command in self.waiting]
        self.waiting = [command for command in self.waiting if command not in now]
        return "\n".join(self.project.sh(command) for command in now)
