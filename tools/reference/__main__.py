"""Write every generated page."""

from tools.reference import DIRECTORY, pages

DIRECTORY.mkdir(exist_ok=True)
for name, text in pages().items():
    (DIRECTORY / name).write_text(text)
