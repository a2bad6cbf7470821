"""Does what a page says, as its reader would: writes files, changes them, runs commands. For the READMEs and 03's recipes.

The paragraph above a block begins with the names of files. A `diff` block changes them, and any other block is the whole file.
The first file must be there, the others are changed if they are. A `text` block without a name is for another place. An `sh`
block is run in the project's folder. A comment `<!-- skip: next "reason" -->` skips a block.
"""

import re

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMES = re.compile(r"(?:\d+\. )?((?:(?:,? and )?`[^` ]+`)+)")

# These take long, so they wait until something needs their result. One run then does for several sections or pages.
LOCK, UP, PRODUCTION = "make lock", "make up", "make -C production up"


def steps(page, heading="", skipped=False):
    """Return the blocks under a heading of level 2, or those above the first one, as (language, content, names of files).

    With `skipped`, also those with a comment that skips them.
    """
    sections = re.split(r"^## (.*)\n", f"## \n{page.read_text()}", flags=re.MULTILINE)
    text = dict(zip(sections[1::2], sections[2::2], strict=True))[heading]
    found, end = [], 0
    for block in BLOCK.finditer(text):
        above, end = text[end : block.start()].strip().split("\n\n")[-1], block.end()
        names = NAMES.match(above)
        if skipped or not above.startswith("<!-- skip"):
            found.append((block[1], block[2], re.findall("`(.*?)`", names[1]) if names else []))
    return found


def sections(page):
    """Return the sections of a page that have blocks, as `Reader.follow` takes them."""
    headings = ["", *re.findall("^## (.*)", page.read_text(), re.MULTILINE)]
    return [f"{page.name}: {heading}".removesuffix(": ") for heading in headings if steps(page, heading)]


def change(path, diff):
    """Apply a diff without line numbers. `@@` separates its parts.

    Raise AssertionError unless each part fits exactly once, and below the one before.
    """
    end = 0
    for part in re.split(r"^@@.*\n", diff, flags=re.MULTILINE):
        lines = [line or " " for line in part.splitlines()]
        assert lines and all(line[0] in " +-" for line in lines), f"not a diff:\n{part}"
        old, new = ("".join(f"{line[1:]}\n" for line in lines if line[0] in signs) for signs in (" -", " +"))
        text = f"\n{path.read_text()}"
        assert old and text.count(f"\n{old}") == 1, f"{path} does not contain exactly once:\n{old}"
        start = text.index(f"\n{old}")
        assert start >= end, f"{path} contains this further up:\n{old}"
        end = start + len(new)
        path.write_text(text.replace(f"\n{old}", f"\n{new}")[1:])


def commands(page, heading, skipped=True):
    """Return the blocks of commands under a heading of level 2. Raise AssertionError if there are none."""
    found = [content for language, content, _ in steps(page, heading, skipped) if language == "sh"]
    assert found, f"{page} has no commands under {heading}"
    return found


def write(folder, language, content, names):
    """Write a whole file, or change the named files of a folder. `*` in a name is the number of a migration."""
    for number, name in enumerate(names):
        path = next(folder.glob(name), folder / name)
        if language != "diff":
            path.write_text(content)
        elif path.exists() or not number:
            change(path, content)


class Reader:
    """Follows the pages in a project, which has `folder` and `sh`."""

    def __init__(self, project):
        """Nothing waits yet. `later` has the commands that come after `make up`, which wait with it."""
        self.project, self.locked, self.later, self.done = project, True, {}, set()

    def follow(self, *sections):
        """Do what sections say, such as "page.md" or "page.md: In production". Return what their commands printed.

        `make up`, and the commands of a section after it, wait for `catch_up`.
        """
        printed = []
        for section in sections:
            name, _, heading = section.partition(": ")
            blocks = steps(self.project.folder / "recipes" / name, heading)
            assert blocks, f"{section} has no blocks"
            self.done.add(section)
            started = None
            for language, content, names in blocks:
                if language != "sh":
                    assert names or language == "text", f"{section} names no file above this block:\n{content}"
                    write(self.project.folder, language, content, names)
                    continue
                for part in re.split(rf"^({LOCK}|{UP}|{PRODUCTION})\n", content, flags=re.MULTILINE):
                    if part in (UP, PRODUCTION):
                        started = part
                        self.later.setdefault(part, [])
                    elif part == LOCK:
                        self.locked = False
                    elif part and (started or ("docker compose" in part and UP in self.later)):
                        self.later[started or UP].append(part)
                    elif part:
                        self.lock()
                        printed.append(self.project.sh(f"set -e\n{part}"))
        return "\n".join(printed)

    def lock(self):
        """Run `make lock`, if it waits."""
        if not self.locked:
            self.project.sh(LOCK)
            self.locked = True

    def catch_up(self):
        """Run what waits. Return what the commands after `make up` printed."""
        self.lock()
        later, self.later = self.later, {}
        return "\n".join(self.project.sh(f"set -e\n{part}") for command in later for part in [command, *later[command]])
