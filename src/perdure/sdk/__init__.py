"""What programs are written with: workflows, activities, the client and the worker that runs both.

Sees the API alone, so it can drive any server that speaks it: an engine in the same process, or one far away.
"""
