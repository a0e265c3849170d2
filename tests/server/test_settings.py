"""The configuration file, and the limits that it sets."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from temporalio.api.workflowservice import v1 as service

from perdure.core.limits import Limits
from perdure.engine.node.config import EngineConfig
from perdure.frontend.authorization import AuthorizationConfig
from perdure.frontend.server.settings import names, read_settings
from perdure.frontend.server.tables import SettingsError
from perdure.frontend.tls import Certificate, TlsConfig
from perdure.security.token_rules import TokenRules
from tests.engine.world import completion, schedule, start_request, workflow_poll
from tests.server.given import CODE, World, served

TOP = {"address": str, "namespaces": list}


def test_a_file_sets_what_it_names_and_leaves_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "server.toml"
    path.write_text(
        'address = "127.0.0.1:0"\n[limits]\nblob_bytes = 1000\ntask_timeout = "20s"\n[engine]\nlong_poll = "1.5m"\n'
    )
    said, engine = read_settings(path, TOP)
    assert said == {"address": "127.0.0.1:0"}
    assert (engine.limits.blob_bytes, engine.limits.task_timeout_ns) == (1000, 20_000_000_000)
    assert engine.limits.id_length == Limits().id_length
    assert engine.long_poll_ns == 90_000_000_000
    assert engine.cache_bytes_max == EngineConfig().cache_bytes_max


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("adress = 'x'", "there is no setting 'adress'; there are address, namespaces, limits, engine"),
        ("address = 7233", "address is 7233; it should be a str"),
        ("[limits]\nblob_byte = 1", r"\[limits\] has no setting 'blob_byte'; there are id_length, blob_bytes"),
        ("[limits]\nblob_bytes = '2MB'", r"\[limits\] blob_bytes is '2MB'; write a number"),
        ("[limits]\nblob_bytes = -1", "not negative"),
        ("[engine]\nlong_poll = 60", r"\[engine\] long_poll is 60; write a duration such as"),
        ("[engine]\nworkers_died = true", "has no setting 'workers_died'"),
        ("[engine]\nlong_poll = '36501d'", "nothing takes longer than 100 years"),
        ("[engine]\nlong_poll = '" + "9" * 400 + "s'", "nothing takes longer than 100 years"),
        ("[engine]\nbatch_rate = nan", "write a number that 64 bits hold"),
        ("[engine]\nbatch_rate = inf", "write a number that 64 bits hold"),
        ("[engine]\nbatch_rate = 0.0", "write a number greater than 0, as 1000.0 is"),
        ("[engine]\nbatch_rate = -1.0", "write a number greater than 0, as 1000.0 is"),
        ("[limits]\nblob_bytes = 9223372036854775808", "write a number that 64 bits hold"),
        ("limits = 3", r"\[limits\] should be a table"),
        ("[limits", "server.toml: Expected"),
    ],
)
def test_a_mistake_in_a_file_is_told_with_what_would_be_right(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "server.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=why):
        read_settings(path, TOP)


def test_every_setting_has_a_name_without_its_unit_of_time() -> None:
    assert "long_poll" in names(EngineConfig)
    assert not [name for name in (*names(EngineConfig), *names(Limits)) if name.endswith("_ns")]


@served(limits=Limits(id_length=20, blob_bytes=1_000))
async def test_the_edge_holds_requests_to_the_limits_that_were_set(world: World) -> None:
    error = await world.client.refusal("StartWorkflowExecution", start_request("x" * 21))
    assert "(21/20)" in (error.details() or "")
    described = await world.client.call("DescribeNamespace", service.DescribeNamespaceRequest(namespace="default"))
    assert described.namespace_info.limits.blob_size_limit_error == 1_000
    request = start_request()
    request.input.payloads.add(data=bytes(2_000))
    error = await world.client.refusal("StartWorkflowExecution", request)
    assert error.code() is CODE.INVALID_ARGUMENT


@served(limits=Limits(pending_activities=100))
async def test_half_of_a_limit_is_told_in_the_log_once(world: World) -> None:
    told: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: told.append(record.getMessage())
    logger = logging.getLogger("perdure.engine.feed.alarms")
    logger.addHandler(handler)
    try:
        await world.client.call("StartWorkflowExecution", start_request())
        task = await world.client.call("PollWorkflowTaskQueue", workflow_poll(), timeout=10)
        many = completion(task.task_token, *[schedule(str(number)) for number in range(70)])
        many.force_create_new_workflow_task = True
        await world.client.call("RespondWorkflowTaskCompleted", many)
        task = await world.client.call("PollWorkflowTaskQueue", workflow_poll(), timeout=10)
    finally:
        logger.removeHandler(handler)
    assert ["70 pending activities; its limit is 100" in text for text in told] == [True]
    terminate = service.TerminateWorkflowExecutionRequest(namespace="default")
    terminate.workflow_execution.workflow_id = "order-1"
    await world.client.call("TerminateWorkflowExecution", terminate)


TLS = '[tls.frontend.server]\ncertFile = "a.crt"\nkeyFile = "a.key"\n'


def test_tls_is_read_in_temporals_words(tmp_path: Path) -> None:
    path = tmp_path / "server.toml"
    path.write_text(
        'tls.refreshInterval = "5s"\n'
        'tls.expirationChecks = { warningWindow = "30d", errorWindow = "1d", checkInterval = "10m" }\n'
        f'{TLS}clientCaFiles = ["c.crt", "d.crt"]\nrequireClientAuth = true\n'
        '[tls.frontend.hostOverrides."Orders.example.com"]\ncertFile = "o.crt"\nkeyFile = "o.key"\n'
    )
    said, _ = read_settings(path, TOP)
    day = 86_400 * 10**9
    assert said["tls"] == TlsConfig(
        server=Certificate(cert_file="a.crt", key_file="a.key"),
        client_ca_files=["c.crt", "d.crt"],
        require_client_auth=True,
        host_overrides={"orders.example.com": Certificate(cert_file="o.crt", key_file="o.key")},
        refresh_ns=5 * 10**9,
        warning_ns=30 * day,
        error_ns=day,
        check_ns=600 * 10**9,
    )
    path.write_text(TLS)
    assert read_settings(path, TOP)[0]["tls"] == TlsConfig(server=Certificate(cert_file="a.crt", key_file="a.key"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("tls = 1", r"\[tls\] should be a table"),
        ("[tls]", r"\[tls\] needs a table \[tls.frontend\]"),
        ("[tls.frontend.server]\nkeyFile = 'k'", r"\[tls.frontend.server\] needs certFile"),
        (TLS + "requireClientAuth = 'yes'", "requireClientAuth is 'yes'; write true or false"),
        (TLS + "clientCaFiles = 'c.crt'", "clientCaFiles is 'c.crt'; write a list of texts"),
        (TLS + "clientCaFiles = [1]", "write a list of texts"),
        (TLS + "certfile = 'c'", r"\[tls.frontend.server\] has no setting 'certfile'; there are certFile, keyFile, "),
        (TLS + "[tls.internode.server]", r"\[tls\] has no setting 'internode'"),
        (TLS + "[tls.frontend.hostOverrides.a]\ncertFile = 'c'\nkeyFile = 'k'\nrequireClientAuth = true", "no setting"),
        ("tls.refreshInterval = 5\n" + TLS, "refreshInterval is 5; write a duration"),
    ],
)
def test_a_mistake_in_the_table_of_tls_is_named(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "server.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=why):
        read_settings(path, TOP)


KEYS = 'jwtKeyProvider = { keySourceURIs = ["keys.json"] }\n'


def test_who_is_let_in_is_read_in_temporals_words(tmp_path: Path) -> None:
    path = tmp_path / "server.toml"
    path.write_text(
        "[authorization]\n"
        'jwtKeyProvider = { keySourceURIs = ["https://id/jwks.json", "keys.json"], refreshInterval = "5m" }\n'
        'audience = "perdure"\npermissionsClaimName = "roles"\nclockSkew = "1s"\n'
        "permissionsRegex = '(?P<namespace>.+)/(?P<role>.+)'\n"
        '[authorization.certificateSubjects]\n"CN=me" = ["default:write"]\n'
    )
    said, _ = read_settings(path, TOP)
    assert said["authorization"] == AuthorizationConfig(
        key_sources=["https://id/jwks.json", "keys.json"],
        refresh_ns=300 * 10**9,
        rules=TokenRules(
            audience="perdure",
            permissions_claim="roles",
            permissions_pattern="(?P<namespace>.+)/(?P<role>.+)",
            clock_skew_s=1.0,
        ),
        subjects={"CN=me": ["default:write"]},
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "needs jwtKeyProvider.keySourceURIs or certificateSubjects: nobody could be let in"),
        (KEYS + "permissionsRegex = '('", r"permissionsRegex '\(': "),
        (KEYS + "permissionsRegex = 'x'", r"needs the groups \(\?P<namespace>"),
        (KEYS + "authorizer = 'mine'", r"\[authorization\] has no setting 'authorizer'"),
        ("jwtKeyProvider = { keySourceURIs = 'keys.json' }", "write a list of texts"),
        ("certificateSubjects = { 'CN=me' = 'default:write' }", "write a list of texts"),
    ],
)
def test_a_mistake_in_who_is_let_in_is_named(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "server.toml"
    path.write_text(f"[authorization]\n{text}\n")
    with pytest.raises(SettingsError, match=why):
        read_settings(path, TOP)
