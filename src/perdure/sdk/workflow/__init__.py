"""What workflow code is written with: `workflow` and its parts, handles, and the loop under `async def`."""
