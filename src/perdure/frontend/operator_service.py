"""What operators ask of the server as a whole: all RPCs of the operator service under their names."""

from __future__ import annotations

from perdure.engine.engine import Engine
from perdure.frontend import gate
from perdure.frontend.clusters import Clusters
from perdure.frontend.namespaces import Namespaces
from perdure.frontend.rpcs import OPERATOR_SERVICE
from perdure.frontend.search_attributes import SearchAttributes


class OperatorService:
    """`temporal.api.operatorservice.v1.OperatorService` over an engine that was started."""

    def __init__(self, engine: Engine) -> None:
        attributes = SearchAttributes(engine)
        self.add_search_attributes = attributes.add
        self.remove_search_attributes = attributes.remove
        self.list_search_attributes = attributes.list

        self.delete_namespace = Namespaces(engine).delete

        clusters = Clusters(engine)
        self.list_clusters = clusters.list
        self.remove_remote_cluster = clusters.remove
        gate.put_before(self, OPERATOR_SERVICE, engine.config.limits)
