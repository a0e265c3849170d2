"""`perdure server` with TLS as its own process, and the commands that reach it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from perdure import TLSConfig, Worker, workflow
from perdure.cli.main import cli
from tests.security.certificates import Authority

AUTHORITY = Authority()
PATIENCE_S = 60
PERDURE = str(Path(sys.executable).with_name("perdure"))


@workflow(name="tls.shout")
def shout(text: str) -> str:
    return text.upper()


@contextmanager
def running(*options: str) -> Generator[str]:
    """The address of a server, which is told to stop at the end, and does."""
    command = [PERDURE, "server", "--store", "memory://", "--address", "127.0.0.1:0", "--http-address", "", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("perdure server: ready on "), line
            yield line.removeprefix("perdure server: ready on ").partition(",")[0]
        finally:
            process.terminate()
            assert process.wait(PATIENCE_S) == 0


def test_a_server_with_mutual_tls_and_the_commands_that_reach_it(tmp_path: Path) -> None:
    cert, key = AUTHORITY.pair().save(tmp_path, "server")
    mine, my_key = AUTHORITY.pair("me").save(tmp_path, "me")
    ca = AUTHORITY.save(tmp_path, "ca")
    tls = TLSConfig(server_root_ca_cert=ca, client_cert=mine, client_private_key=my_key)
    known = {"PERDURE_TLS_CA_FILE": ca, "PERDURE_TLS_CERT_FILE": mine, "PERDURE_TLS_KEY_FILE": my_key}
    with running("--tls-cert-file", cert, "--tls-key-file", key, "--tls-client-ca-file", ca) as address:
        url = f"grpcs://{address}"
        worker = Worker.connect(url, workflows=[shout], activities=[], tls=tls)
        worker.start()
        worker.stop()
        command = [PERDURE, "workflow", "list", "--store", url]
        listed = subprocess.run(
            command, env={**os.environ, **known}, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
        assert listed.returncode == 0, listed.stderr
        refused = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        assert refused.returncode == 1 and "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--address", "0.0.0.0:0"], "0.0.0.0:0 is reached by other machines"),
        (["--http-address", "0.0.0.0:0"], "--insecure"),
        (["--tls-cert-file", "server.crt"], "--tls-cert-file and --tls-key-file go together"),
        (["--tls-client-ca-file", "ca.crt"], "--tls-client-ca-file needs --tls-cert-file and --tls-key-file"),
        (["--tls-cert-file", "none.crt", "--tls-key-file", "none.key"], "none.crt: No such file or directory"),
    ],
)
def test_what_is_wrong_with_the_options_is_said(options: list[str], words: str) -> None:
    said = CliRunner().invoke(cli, ["server", "--store", "memory://", *options])
    assert said.exit_code == 1 and words in said.output, said.output
