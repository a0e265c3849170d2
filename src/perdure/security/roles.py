"""Roles, and what each RPC asks for: the rules of Temporal's default authorizer (common/authorization), and its table
(common/api/metadata.go).

A caller has a role in the system as a whole and one in each namespace, and what is had in the system is had in every
namespace. An RPC that is not in the table is for nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum, IntFlag

import msgspec


class Role(IntFlag):
    """Temporal's, as bits: a claim may give several. The highest decides."""

    UNDEFINED = 0
    WORKER = 1
    READER = 2
    WRITER = 4
    ADMIN = 8


ROLES: Mapping[str, Role] = {
    "read": Role.READER, "write": Role.WRITER, "worker": Role.WORKER, "admin": Role.ADMIN,
}  # fmt: skip
"""As a permission says them: `<namespace>:<role>`."""
SYSTEM = "temporal-system"
"""The namespace of a permission that is for the system as a whole."""


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a caller."""

    subject: str = ""
    """Who that is; "": nobody has said."""
    system: Role = Role.UNDEFINED
    namespaces: Mapping[str, Role] = {}

    def role(self, namespace: str) -> Role:
        """In a namespace, that of the system included."""
        return self.system | self.namespaces.get(namespace, Role.UNDEFINED)


NOBODY = Claims()


def claims_of(subject: str, permissions: Iterable[tuple[str, str]]) -> tuple[Claims, list[str]]:
    """The claims that permissions, (namespace, role), add up to; and those that are none, for a warning."""
    system, namespaces, bad = Role.UNDEFINED, dict[str, Role](), list[str]()
    for namespace, name in permissions:
        role = ROLES.get(name.lower())
        if role is None or not namespace:
            bad.append(f"{namespace}:{name}")
        elif namespace.lower() == SYSTEM:
            system |= role
        else:
            namespaces[namespace] = namespaces.get(namespace, Role.UNDEFINED) | role
    return Claims(subject=subject, system=system, namespaces=namespaces), bad


class Scope(Enum):
    """What an RPC is about."""

    NAMESPACE = "one namespace, or those that the request names"
    CLUSTER = "the server as a whole"


class Access(msgspec.Struct, frozen=True):
    """What an RPC asks for."""

    scope: Scope
    role: Role


OPEN = frozenset({"GetSystemInfo"})
"""Answered to everybody, as health checks are: a client asks before it has shown who it is."""

_READ = """
    DescribeNamespace GetWorkflowExecutionHistory GetWorkflowExecutionHistoryReverse ListSearchAttributes
    DescribeWorkflowExecution QueryWorkflow PollWorkflowExecutionUpdate PollWorkflowExecutionTimeSkipping
    ListOpenWorkflowExecutions ListClosedWorkflowExecutions ListWorkflowExecutions ListArchivedWorkflowExecutions
    ScanWorkflowExecutions CountWorkflowExecutions
    DescribeActivityExecution PollActivityExecution ListActivityExecutions CountActivityExecutions
    DescribeNexusOperationExecution PollNexusOperationExecution ListNexusOperationExecutions
    CountNexusOperationExecutions
    DescribeTaskQueue ListTaskQueuePartitions ListWorkers CountWorkers DescribeWorker FetchWorkerConfig
    DescribeSchedule ListScheduleMatchingTimes ListSchedules CountSchedules
    DescribeBatchOperation ListBatchOperations DescribeWorkflowRule ListWorkflowRules
    GetWorkerBuildIdCompatibility GetWorkerVersioningRules GetWorkerTaskReachability
    DescribeDeployment ListDeployments GetDeploymentReachability GetCurrentDeployment
    DescribeWorkerDeploymentVersion DescribeWorkerDeployment ListWorkerDeployments
    ValidateWorkerDeploymentVersionComputeConfig
"""
_WRITE = """
    StartWorkflowExecution SignalWorkflowExecution SignalWithStartWorkflowExecution UpdateWorkflowExecution
    ExecuteMultiOperation RequestCancelWorkflowExecution TerminateWorkflowExecution ResetWorkflowExecution
    DeleteWorkflowExecution UpdateWorkflowExecutionOptions PauseWorkflowExecution UnpauseWorkflowExecution
    PollWorkflowTaskQueue RespondWorkflowTaskCompleted RespondWorkflowTaskFailed RespondQueryTaskCompleted
    ResetStickyTaskQueue ShutdownWorker RecordWorkerHeartbeat UpdateTaskQueueConfig UpdateWorkerConfig
    PollActivityTaskQueue RecordActivityTaskHeartbeat RecordActivityTaskHeartbeatById
    RespondActivityTaskCompleted RespondActivityTaskCompletedById RespondActivityTaskFailed
    RespondActivityTaskFailedById RespondActivityTaskCanceled RespondActivityTaskCanceledById
    UpdateActivityOptions PauseActivity UnpauseActivity ResetActivity
    StartActivityExecution RequestCancelActivityExecution TerminateActivityExecution DeleteActivityExecution
    UpdateActivityExecutionOptions PauseActivityExecution UnpauseActivityExecution ResetActivityExecution
    StartNexusOperationExecution RequestCancelNexusOperationExecution TerminateNexusOperationExecution
    DeleteNexusOperationExecution PollNexusTaskQueue RespondNexusTaskCompleted RespondNexusTaskFailed
    CreateSchedule UpdateSchedule PatchSchedule DeleteSchedule StartBatchOperation StopBatchOperation
    CreateWorkflowRule DeleteWorkflowRule TriggerWorkflowRule
    UpdateWorkerBuildIdCompatibility UpdateWorkerVersioningRules SetCurrentDeployment
    SetWorkerDeploymentCurrentVersion SetWorkerDeploymentRampingVersion SetWorkerDeploymentManager
    CreateWorkerDeployment DeleteWorkerDeployment CreateWorkerDeploymentVersion DeleteWorkerDeploymentVersion
    UpdateWorkerDeploymentVersionComputeConfig UpdateWorkerDeploymentVersionMetadata
"""
_ADMIN = """
    RegisterNamespace UpdateNamespace DeprecateNamespace AddSearchAttributes RemoveSearchAttributes DeleteNamespace
"""
_CLUSTER_READ = "ListNamespaces GetSearchAttributes GetClusterInfo GetSystemInfo"
_CLUSTER_ADMIN = """
    AddOrUpdateRemoteCluster RemoveRemoteCluster ListClusters
    CreateNexusEndpoint UpdateNexusEndpoint DeleteNexusEndpoint GetNexusEndpoint ListNexusEndpoints
"""

ACCESS: Mapping[str, Access] = {
    name: access
    for names, access in (
        (_READ, Access(Scope.NAMESPACE, Role.READER)),
        (_WRITE, Access(Scope.NAMESPACE, Role.WRITER)),
        (_ADMIN, Access(Scope.NAMESPACE, Role.ADMIN)),
        (_CLUSTER_READ, Access(Scope.CLUSTER, Role.READER)),
        (_CLUSTER_ADMIN, Access(Scope.CLUSTER, Role.ADMIN)),
    )
    for name in names.split()
}
"""By the RPC's name."""
OF_THE_SYSTEM = Access(Scope.CLUSTER, Role.READER)
"""Of reflection and metrics: which services and namespaces there are, and how much goes on in them."""


def is_allowed(claims: Claims, access: Access | None, namespaces: Iterable[str]) -> bool:
    """Whether these claims are enough, in every namespace that is reached. None: nobody's are.

    A request of a namespace that says none is one of the system.
    """
    if access is None:
        return False
    if access.scope is Scope.CLUSTER or claims.system >= access.role:
        return claims.system >= access.role
    reached = tuple(namespaces)
    return bool(reached) and all(claims.role(name) >= access.role for name in reached)
