"""What operators ask of the server as a whole: all RPCs of the operator service under their names."""

from __future__ import annotations

from perdure.engine.engine import Engine
from perdure.frontend.chain import Chain
from perdure.frontend.clusters import Clusters
from perdure.frontend.namespaces import Namespaces
from perdure.frontend.search_attributes import SearchAttributes


class OperatorService:
    """`temporal.api.operatorservice.v1.OperatorService` over an engine that was started."""

    def __init__(self, engine: Engine, chain: Chain | None = None) -> None:
        serve = (chain or Chain(engine)).serve
        attributes = SearchAttributes(engine)
        self.add_search_attributes = serve("AddSearchAttributes", attributes.add)
        self.remove_search_attributes = serve("RemoveSearchAttributes", attributes.remove)
        self.list_search_attributes = serve("ListSearchAttributes", attributes.list)

        self.delete_namespace = serve("DeleteNamespace", Namespaces(engine).delete)

        clusters = Clusters(engine)
        self.list_clusters = serve("ListClusters", clusters.list)
        self.remove_remote_cluster = serve("RemoveRemoteCluster", clusters.remove)
