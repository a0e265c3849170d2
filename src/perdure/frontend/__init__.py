"""The public API at its edge: requests are validated here, and nothing invalid goes further.

A file per noun. `WorkflowService` has them all under the names of the RPCs; an embedded engine hands
it to the SDK as it is, a server puts a transport in front of it.
"""

from perdure.frontend.service import WorkflowService

__all__ = ["WorkflowService"]
