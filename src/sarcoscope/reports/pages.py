"""One page from a template: self-contained, inert, without any request."""

import base64
import hashlib
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from sarcoscope import __version__
from sarcoscope.reports.wording import (
    count_and_share,
    level_words,
    percent,
    plural,
    says_nothing,
    seconds,
    set_words,
    share_of,
)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("sarcoscope.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, seconds=seconds)
    environment.globals.update(plural=plural, share_of=share_of, count_and_share=count_and_share)
    environment.globals.update(level_words=level_words, set_words=set_words, says_nothing=says_nothing)
    return environment


def _part(name: str) -> tuple[Markup, str]:
    """A style or script of ours as it stands between its tags, and its Content-Security-Policy source."""
    environment = _environment()
    assert environment.loader is not None
    text = environment.loader.get_source(environment, name)[0].replace("\r\n", "\n")
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Markup(text), f"'sha256-{digest}'"  # noqa: S704  # our own file, no user's text in it


def data_uri(content: bytes, kind: str) -> str:
    """An image ('jpeg', 'png') as a data URI."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def render(template: str, *, script: str | None = None, **values: Any) -> str:
    """The page. Only our own style and script may run, only embedded images may show; all values are escaped."""
    style, style_source = _part("style.css")
    code, code_source = _part(script) if script else (Markup(), "'none'")
    policy = (
        f"default-src 'none'; img-src data:; style-src {style_source}; script-src {code_source}; "
        "base-uri 'none'; form-action 'none'"
    )
    page = _environment().get_template(template)
    return page.render(style=style, script=code, policy=policy, version=__version__, **values)
