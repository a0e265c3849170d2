-- Which store this is, and how far it has come beside its executions.
SELECT lineage, changes FROM perdure_store
