"""What the delivery fold emits: the events it is a declared writer of (`schemas.topics`)."""

from __future__ import annotations

from typing import TypeAlias

from schemas.deliveries import Dispatch, EndpointStatus, ObligationSettled
from schemas.operations import ExceptionCleared, ExceptionNoted

DeliveryEmit: TypeAlias = Dispatch | EndpointStatus | ObligationSettled | ExceptionCleared | ExceptionNoted
