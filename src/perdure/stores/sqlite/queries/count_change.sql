-- A transaction without commits of executions is to be known again.
UPDATE perdure_store SET changes = changes + 1
