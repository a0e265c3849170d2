-- What an execution could be found by is replaced, or the execution goes.
DELETE FROM search_attributes WHERE execution_id = ?
