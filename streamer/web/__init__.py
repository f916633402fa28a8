"""The live page and its API: one thread with asyncio in it, and nothing of asyncio outside."""
