"""Calls that workflow code may or may not make, each tried twice in one process: the second time nothing is new to it.

`python -m tests.sdk.guard.probes ORDER` prints, as JSON, what became of each the first and the second time.
"""

from __future__ import annotations

import calendar
import datetime
import decimal
import email.header
import email.message
import email.mime.multipart
import email.mime.text
import email.utils
import functools
import getpass
import gettext
import gzip
import html
import importlib.metadata
import importlib.resources
import inspect
import io
import json
import linecache
import locale
import mimetypes
import os
import pathlib
import pickle
import pkgutil
import platform
import pprint
import random
import re
import shutil
import site
import socket
import sqlite3
import ssl
import string
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import threading
import time
import traceback
import urllib.parse
import uuid
import warnings
import xml.etree.ElementTree
import zipfile
import zoneinfo
from collections.abc import Callable
from typing import Any

import certifi
import click
import loguru
import markdown_it
import msgspec
import packaging.version
import pydantic
import pygments
import pygments.formatters
import pygments.lexers
import rich.console
import rich.pretty
import rich.table
import structlog
import tomlkit

from perdure.sdk.errors import DeterminismViolation
from perdure.sdk.workflow.workflow import workflow
from tests.sdk.replay.given import History

HERE = pathlib.Path(__file__)


class Order(pydantic.BaseModel):
    """Of a type that is not known yet when the class is made."""

    lines: list[Line]


class Line(pydantic.BaseModel):
    sku: str
    price: decimal.Decimal = decimal.Decimal(1)


class Stamped(pydantic.BaseModel):
    at: datetime.datetime = pydantic.Field(default_factory=lambda: datetime.datetime.now())


class Record(msgspec.Struct):
    lines: list[str] = []


def model_made_here() -> Any:
    class Made(pydantic.BaseModel):
        parts: list[Line]

    return Made.model_validate({"parts": [{"sku": "lamp"}]}).model_dump_json()


def archive(kind: str) -> bytes:
    made = io.BytesIO()
    match kind:
        case "gzip":
            return gzip.compress(b"x" * 100)
        case "gzip file":
            with gzip.GzipFile(fileobj=made, mode="wb") as file:
                file.write(b"x")
        case "zip":
            with zipfile.ZipFile(made, "w") as zipped:
                zipped.writestr("x", "x")
        case _:
            with tarfile.open(fileobj=made, mode="w|gz") as tarred:
                tarred.addfile(tarfile.TarInfo("x"), io.BytesIO())
    return made.getvalue()


def table() -> None:
    console = rich.console.Console(file=io.StringIO())
    shown = rich.table.Table("sku")
    shown.add_row("lamp")
    console.print(shown)
    console.log("with the time")


def message_of(text: str) -> str:
    message = email.message.EmailMessage()
    message["Subject"] = "ü"
    message.set_content(text)
    return message.as_string()


def raised() -> str:
    try:
        raise ValueError("x")
    except ValueError:
        return traceback.format_exc()


def warned() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.warn("careful", stacklevel=1)


def in_parts() -> str:
    message = email.mime.multipart.MIMEMultipart()
    message.attach(email.mime.text.MIMEText("x"))
    return message.as_string()


FINE: dict[str, Callable[[], Any]] = {
    "a time zone": lambda: datetime.datetime(2026, 1, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")).utcoffset(),
    "another zone, uncached": lambda: zoneinfo.ZoneInfo.no_cache("Asia/Tokyo"),
    "all zones": zoneinfo.available_timezones,
    "strptime": lambda: datetime.datetime.strptime("1 January 2026", "%d %B %Y"),
    "time.strptime": lambda: time.strptime("2026", "%Y"),
    "a calendar": lambda: calendar.LocaleTextCalendar().formatmonth(2026, 1),
    "gettext": lambda: gettext.translation("nothing", localedir="/nowhere", fallback=True).gettext("x"),
    "gettext.find": lambda: gettext.find("nothing"),
    "locale": lambda: (locale.getlocale(), locale.localeconv(), locale.getpreferredencoding()),
    "mimetypes": lambda: mimetypes.guess_type("prices.csv"),
    "mimetypes, all of them": lambda: mimetypes.MimeTypes().guess_extension("text/html"),
    "importlib.metadata": lambda: importlib.metadata.version("click"),
    "entry points": lambda: importlib.metadata.entry_points(group="nothing"),
    "importlib.resources": lambda: importlib.resources.files("tests.sdk.guard").joinpath("probes.py").read_text(),
    "importlib.resources of a library": lambda: importlib.resources.files("certifi").joinpath("cacert.pem").is_file(),
    "pkgutil": lambda: pkgutil.get_data("certifi", "cacert.pem"),
    "certifi": certifi.where,
    "a model with a forward reference": lambda: Order.model_validate({"lines": [{"sku": "lamp"}]}),
    "a model made in the workflow": model_made_here,
    "a type adapter": lambda: pydantic.TypeAdapter(list[Line]).validate_json('[{"sku": "lamp"}]'),
    "a model's JSON schema": Order.model_json_schema,
    "msgspec": lambda: msgspec.json.decode(b'{"lines": ["x"]}', type=Record),
    "msgspec's JSON schema": lambda: msgspec.json.schema(Record),
    "a message": lambda: message_of("ü"),
    "a message's header": lambda: str(email.header.make_header(email.header.decode_header("=?utf-8?q?=C3=BC?="))),
    "gzip": lambda: archive("gzip"),
    "a gzip file": lambda: archive("gzip file"),
    "zip": lambda: archive("zip"),
    "tar": lambda: archive("tar"),
    "Path.resolve": lambda: (pathlib.Path("x").resolve(), HERE.resolve(), pathlib.Path("/nowhere/../x").resolve()),
    "os.path.realpath": lambda: os.path.realpath("x"),
    "inspect.getsource": lambda: inspect.getsource(model_made_here),
    "linecache": lambda: linecache.getline(__file__, 1),
    "a traceback": raised,
    "a warning": warned,
    "rich": table,
    "rich's pretty": lambda: rich.pretty.pretty_repr({"x": [1]}),
    "loguru": lambda: loguru.logger.info("once"),
    "structlog": lambda: structlog.get_logger().debug("once"),
    "decimal": lambda: decimal.Decimal("1.10").quantize(decimal.Decimal(1)),
    "an encoding": lambda: ("bücher.example".encode("idna"), "x".encode("cp1252"), "x".encode("utf-7")),
    "platform": lambda: (platform.platform(), platform.processor(), platform.python_version()),
    "sysconfig": lambda: (sysconfig.get_paths(), sysconfig.get_config_var("EXT_SUFFIX")),
    "site": site.getusersitepackages,
    "ssl": ssl.create_default_context,
    "pygments": lambda: pygments.highlight(
        "x = 1", pygments.lexers.get_lexer_by_name("python"), pygments.formatters.get_formatter_by_name("html")
    ),
    "markdown": lambda: markdown_it.MarkdownIt().render("# x"),
    "click": lambda: click.style("x", fg="red"),
    "toml": lambda: tomlkit.parse("x = 1"),
    "packaging": lambda: packaging.version.Version("1.0"),
    "a regular expression": lambda: re.compile(r"(x+)y").match("xxy"),
    "html": lambda: html.unescape("&auml;"),
    "xml": lambda: xml.etree.ElementTree.fromstring("<x/>"),
    "pickle": lambda: pickle.loads(pickle.dumps({"x": 1})),
    "pprint": lambda: pprint.pformat({"x": [1] * 50}),
    "a template": lambda: string.Template("$x").substitute(x=1),
    "a URL": lambda: urllib.parse.urlsplit("https://x/y?z=1"),
    "uuid5": lambda: uuid.uuid5(uuid.NAMESPACE_DNS, "x"),
    "single dispatch": lambda: functools.singledispatch(len)("x"),
}
"""A workflow may; what these look at is not its decision."""

REFUSED: dict[str, Callable[[], Any]] = {
    "os.environ": lambda: os.environ["PATH"],
    "os.environ.get": lambda: os.environ.get("PATH"),
    "os.getenv": lambda: os.getenv("PATH"),
    "datetime.now": lambda: datetime.datetime.now(),
    "time.time": lambda: time.time(),
    "random": lambda: random.random(),
    "uuid4": lambda: uuid.uuid4(),
    "open": lambda: open("/etc/hostname"),  # noqa: SIM115
    "open, a file of the package": lambda: open(__file__),  # noqa: SIM115
    "open, to write": lambda: open("/tmp/probe", "w"),  # noqa: SIM115
    "Path.read_text": lambda: pathlib.Path("/etc/hostname").read_text(),
    "Path.exists": lambda: pathlib.Path("/etc/hostname").exists(),
    "Path.write_text beside the code": lambda: HERE.with_name("never.txt").write_text("x"),
    "Path.home": pathlib.Path.home,
    "expanduser": lambda: os.path.expanduser("~/x"),
    "os.path.exists": lambda: os.path.exists("/etc/hostname"),
    "os.listdir": lambda: os.listdir("/"),
    "tempfile.gettempdir": lambda: tempfile.gettempdir(),
    "tempfile.mkdtemp": lambda: tempfile.mkdtemp(),
    "shutil.which": lambda: shutil.which("ls"),
    "getpass.getuser": getpass.getuser,
    "socket": socket.socket,
    "gethostname": socket.gethostname,
    "subprocess": lambda: subprocess.run(["true"], check=False),
    "a thread": lambda: threading.Thread(target=print).start(),
    "sqlite3.connect": lambda: sqlite3.connect(":memory:"),
    "a zip file on disk": lambda: zipfile.ZipFile("/tmp/probe.zip", "w"),
    "make_msgid": email.utils.make_msgid,
    "formatdate": email.utils.formatdate,
    "a MIME boundary": in_parts,
    "a model's default that asks the clock": Stamped,
}
"""A workflow may not: it decides by these, or they would happen again."""


def verdict(probe: Callable[[], Any]) -> str:
    """What becomes of a workflow that makes the call: "fine", or what it is told."""

    @workflow(name="probe")
    def code() -> None:
        probe()

    outcome = History(code).task().cold()
    if outcome.error is None:
        return "fine"
    return "refused" if isinstance(outcome.error, DeterminismViolation) else repr(outcome.error)


def main(order: str) -> None:
    probes = list({**FINE, **REFUSED}.items())
    if order == "backwards":
        probes.reverse()
    if order == "known before":
        for name, probe in FINE.items():
            if name not in ("loguru", "structlog"):
                probe()
    found = {name: [verdict(probe), verdict(probe)] for name, probe in probes}
    sys.stdout.write("\n" + json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
