"""Roles and the table of what each RPC asks for."""

from __future__ import annotations

import pytest

from perdure.frontend.rpcs import OPERATOR_SERVICE, SERVICES, WORKFLOW_SERVICE
from perdure.security.roles import ACCESS, NOBODY, Access, Claims, Role, Scope, claims_of, is_allowed

SERVED = [method.name for name in (WORKFLOW_SERVICE, OPERATOR_SERVICE) for method in SERVICES[name].methods]
NAMESPACE_READ, CLUSTER_ADMIN = Access(Scope.NAMESPACE, Role.READER), Access(Scope.CLUSTER, Role.ADMIN)


def test_every_rpc_that_there_is_has_a_row() -> None:
    assert [name for name in SERVED if name not in ACCESS] == []


@pytest.mark.parametrize(
    ("permissions", "namespace", "role"),
    [
        ([("orders", "read")], "orders", Role.READER),
        ([("orders", "read")], "billing", Role.UNDEFINED),
        ([("orders", "Write"), ("orders", "worker")], "orders", Role.WRITER | Role.WORKER),
        ([("temporal-system", "admin")], "orders", Role.ADMIN),
        ([("temporal-system", "read"), ("orders", "write")], "orders", Role.READER | Role.WRITER),
        ([("orders", "owner"), ("", "admin"), ("orders", "")], "orders", Role.UNDEFINED),
    ],
)
def test_permissions_add_up_to_a_role(permissions: list[tuple[str, str]], namespace: str, role: Role) -> None:
    assert claims_of("ada", permissions)[0].role(namespace) == role


def test_what_is_no_permission_is_told() -> None:
    assert claims_of("ada", [("orders", "owner"), ("orders", "read")])[1] == ["orders:owner"]


@pytest.mark.parametrize(
    ("claims", "access", "namespaces", "allowed"),
    [
        (NOBODY, NAMESPACE_READ, ("orders",), False),
        (Claims(namespaces={"orders": Role.WORKER}), NAMESPACE_READ, ("orders",), False),
        (Claims(namespaces={"orders": Role.READER}), NAMESPACE_READ, ("orders",), True),
        (Claims(namespaces={"orders": Role.ADMIN}), NAMESPACE_READ, ("orders", "billing"), False),
        (Claims(system=Role.READER), NAMESPACE_READ, ("orders", "billing"), True),
        (Claims(namespaces={"orders": Role.ADMIN}), NAMESPACE_READ, (), False),
        (Claims(system=Role.READER), NAMESPACE_READ, (), True),
        (Claims(namespaces={"orders": Role.ADMIN}), CLUSTER_ADMIN, ("orders",), False),
        (Claims(system=Role.WRITER), CLUSTER_ADMIN, (), False),
        (Claims(system=Role.ADMIN), CLUSTER_ADMIN, (), True),
        (Claims(system=Role.ADMIN), None, ("orders",), False),
    ],
)
def test_claims_are_enough_or_not(
    claims: Claims, access: Access | None, namespaces: tuple[str, ...], allowed: bool
) -> None:
    assert is_allowed(claims, access, namespaces) is allowed
