"""The side door: /healthz, /readyz and /metrics.

side_door  answers; nothing that can be reached here changes anything
exposition what is counted, as Prometheus reads it
"""
