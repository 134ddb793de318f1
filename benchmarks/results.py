"""benchmarks/results.md: one section a benchmark, each written by the command that measured it."""

from datetime import UTC, datetime
from os import cpu_count
from pathlib import Path
from platform import machine, python_version

from sarcoscope.core.provenance import library_versions

RESULTS = Path(__file__).parent / "results.md"


def said(script: str) -> str:
    """Where and with what it was measured, in a line."""
    versions = library_versions()
    names = ("sarcoscope", "openslide-bin", "simplejpeg", "onnxruntime", "opencv-python-headless")
    used = ", ".join(f"{name} {versions[name]}" for name in names)
    where = f"Python {python_version()}, {cpu_count()} cores, {machine()}"
    return f"`{script}`, {datetime.now(UTC):%Y-%m-%d}: {used}; {where}."


def put_section(title: str, lines: list[str]) -> None:
    """Print the section, and replace the one of that title in results.md or add it."""
    text = "\n".join([f"## {title}", "", *lines, ""])
    before = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else "# Measured by `make bench`\n"
    head, *sections = before.split("\n## ")
    kept = [f"## {section.strip()}\n" for section in sections if section.splitlines()[0] != title]
    RESULTS.write_text("\n".join([head.strip() + "\n", *kept, text]), encoding="utf-8")
    print(text)
