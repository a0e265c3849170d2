"""What clients and workflows say to one another, under kill -9: is anything lost, or done twice?

    python -m benchmarks.kills [--workflows 200] [--kills 220] [--seed 1]

One process has the engine, the workers and the clients; it is killed at random moments, also while it starts, and
started again until all is done (`campaign`). Before each request the clients write into a ledger what they are about to
ask, and after the answer that they have it (`clients`). What was not answered is asked again with the same
id; what was answered is never asked again, so whatever is lost then stays lost and is seen. At the end the store is
read from outside and compared with the ledger and with the file of effects (`audit`).
"""
