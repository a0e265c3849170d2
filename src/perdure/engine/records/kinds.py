"""The kinds of records that are work of users', and not of the nodes: who moves a store takes them along."""

from perdure.engine.records import batches, requests, schedules

KINDS = (schedules.KIND, batches.KIND, requests.KIND)
