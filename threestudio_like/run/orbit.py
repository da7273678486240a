"""A GLB that a page lets its reader turn, offline: its bytes and a small WebGL program, both inline."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path

MAX_BYTES = 64 * 2**20  # of a model; browsers hold a page's text several times
PROGRAM = Path(__file__).with_name("orbit.js")
HELP = "drag to turn, wheel or two fingers to zoom, double click to go back; the button changes what is shown"


def orbit(file: Path) -> str:
    """The canvas with its model; a line instead where the file is too large, nothing where there is none."""
    if not file.exists():
        return ""
    if file.stat().st_size > MAX_BYTES:
        size = f"{file.stat().st_size / 2**20:.0f} MiB"
        return f"<p><small>{escape(file.name)} has {size}: too large to be shown here</small></p>"
    content = base64.b64encode(file.read_bytes()).decode("ascii")
    return (
        "<figure class='orbit'><canvas tabindex='0' width='480' height='480'></canvas>"
        f"<figcaption><button>colours</button> <small>{HELP}</small></figcaption>"
        f"<script type='model/gltf-binary'>{content}</script></figure>"
    )


def program() -> str:
    """What makes it turn; at the end of the page's body."""
    return f"<script>{PROGRAM.read_text(encoding='utf-8')}</script>"
