"""What the routes of one service share."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from starlette.requests import Request

from fashionvl.service.desk import Desk
from fashionvl.service.gauges import Gauges
from fashionvl.service.serving import Serving
from fashionvl.service.settings import Settings


@dataclass
class Room:
    """
    opener   where pictures are opened, so that the event loop goes on
    swaps    how often another finder took over
    refused  True where the newest one that was named could not be loaded
    """

    desk: Desk
    settings: Settings
    gauges: Gauges
    opener: ThreadPoolExecutor
    swaps: int = 0
    refused: bool = False

    def swap(self, serving: Serving) -> None:
        """What is asked from now on, another one answers."""
        self.desk.swap(serving)
        self.swaps, self.refused = self.swaps + 1, False
        self.gauges.swaps.labels("taken").inc()
        self.gauges.show(serving.versions)

    def refuse(self) -> None:
        """Another one could not be loaded; the one there is goes on."""
        self.refused = True
        self.gauges.swaps.labels("refused").inc()


def room_of(request: Request) -> Room:
    """The room of the service that was asked."""
    room = request.app.state.room
    assert isinstance(room, Room)
    return room
