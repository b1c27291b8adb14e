"""The event and manifest contracts as Python models, generated from `schemas/`. Data only, no logic."""

from entresol_contracts.base import Document, EventType, Payload
from entresol_contracts.registry import EVENT_TYPES

__all__ = ["EVENT_TYPES", "Document", "EventType", "Payload"]
