"""What comes back of each message: sent, delivered and read, posted to a webhook receiver in small batches.

What belongs here: the making and posting within the server's own loop (`cloud --statuses`). Meta sends one to three
statuses in a delivery (1.8 in the mean of a large log), on several connections at once.
"""

import asyncio
import random
import time
from collections import deque

from benchmarks.deliveries import Poster, Status, delivery, signed

DELAYS = {"sent": 0.3, "delivered": 0.8, "read": 2.0}
SIZES = (1, 1, 2, 3)
TICK = 0.02
CONNECTIONS = 16


class Back:
    """Takes note of accepted messages and posts their statuses when they are due."""

    def __init__(self, url: str) -> None:
        self.poster = Poster(url, CONNECTIONS)
        self.made = 0
        self._due: dict[str, deque[tuple[float, str, str, str]]] = {status: deque() for status in DELAYS}
        self._draw = random.Random(1)

    def accepted(self, number: str, wamid: str, callback: str) -> None:
        now = time.monotonic()
        for status, delay in DELAYS.items():
            self._due[status].append((now + delay, number, wamid, callback))

    async def run(self) -> None:
        await self.poster.open()
        while True:
            now, at = time.monotonic(), int(time.time())
            for status, due in self._due.items():
                while due and due[0][0] <= now:
                    size, number = self._draw.choice(SIZES), due[0][1]
                    statuses: list[Status] = []
                    while due and due[0][0] <= now and due[0][1] == number and len(statuses) < size:
                        _, _, wamid, callback = due.popleft()
                        statuses.append(Status(wamid, status, at, callback))
                    self.made += len(statuses)
                    self.poster.add(signed(delivery(statuses, number)))
            await asyncio.sleep(TICK)

    def told(self) -> dict[str, float]:
        posted = self.poster.posted
        rest = sum(len(due) for due in self._due.values()) + len(self.poster.waiting)
        return {"made": self.made, "deliveries": posted.taken, "refused": posted.refused, "waiting": rest}
