"""How the tests start the system's Chromium: without a display, a sandbox of its own, or anything that calls home."""

from typing import Final

FLAGS: Final = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
