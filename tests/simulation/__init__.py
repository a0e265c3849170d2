"""The engine in a world where time, chance and death are chosen by a seed."""
