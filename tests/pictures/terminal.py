"""Read a terminal's output from stdin and print its final screen as SVG, without the steps of the builds.

test_pictures.py runs it. pyte emulates the terminal, because builds and Compose move the cursor. rich draws the screen.
"""

import io
import re
import sys
from itertools import groupby

import pyte
from rich.console import Console
from rich.text import Text

# The same width as in test_pictures.py. Every line that `make up` prints itself fits in.
COLUMNS = 120
# Don't load a font from the network: an <img> cannot, and it would tell the font's server who reads the README.
SVG = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace;
  font-size: {char_height}px; line-height: {line_height}px }}
.{unique_id}-title {{ font-family: Arial, sans-serif; font-size: 18px; font-weight: bold }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def style(cell):
    """Convert the style of a pyte cell to a style of rich."""
    # pyte gives a name or six hexadecimal digits.
    colour = cell.fg.replace("brown", "yellow").replace("bright", "bright_")
    return ("bold " if cell.bold else "") + (f"#{colour}" if re.fullmatch("[0-9a-f]{6}", colour) else colour)


def rows(screen):
    """Yield a Text for each row. Replace the steps of a build with three dots, and leave out make's own messages."""
    written = [number for number, row in enumerate(screen.display) if row.strip()]
    shown = [number for number in range(written[-1] + 1) if not screen.display[number].startswith("make[")]
    for is_step, numbers in groupby(shown, lambda number: screen.display[number].startswith(" => ")):
        if is_step:
            yield Text(" => ...", "blue")
            continue
        for number in numbers:
            cells = [screen.buffer[number][column] for column in range(COLUMNS)]
            row = Text.assemble(*(("".join(cell.data for cell in run), look) for look, run in groupby(cells, style)))
            row.rstrip()
            yield row


def main():
    """Draw the screen."""
    screen = pyte.Screen(COLUMNS, 1000)
    pyte.ByteStream(screen).feed(sys.stdin.buffer.read())
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), color_system="truecolor", force_terminal=True)
    for row in rows(screen):
        console.print(row, soft_wrap=True)
    # rich gives the last line no clip path, so add an empty line.
    console.print()
    print(console.export_svg(title="", code_format=SVG), end="")


if __name__ == "__main__":
    main()
