"""The CRM's messages as they come. They go no further than `translate`."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import PlainValidator, TypeAdapter

from connectors.edge import Instant, Name, Sequence, Wire, refuse

MOST_FACTS = 50
MOST_CHARACTERS = 1_000
MOST_OF_A_NAME = 60
_FIELD = re.compile(r"[a-z0-9][a-z0-9_.-]{0,59}", re.ASCII)


def _facts(value: Any) -> dict[str, str]:
    """Facts by field, in lower case, as text; "" for null."""
    if not isinstance(value, dict) or not value:
        raise refuse("facts is not a JSON object with at least one field", "send the fields that changed, with their values")
    if len(value) > MOST_FACTS:
        raise refuse(f"facts has {len(value)} fields, more than {MOST_FACTS}", "split it into several messages")
    found: dict[str, str] = {}
    for name, fact in value.items():
        field = name.strip().lower()
        if not _FIELD.fullmatch(field):
            raise refuse(
                f"facts has a field {name[:MOST_OF_A_NAME]!r}",
                f"name fields in letters, digits, _ . and -, at most {MOST_OF_A_NAME} of them",
            )
        if field in found:
            raise refuse(f"facts has the field {field!r} twice", "send one value for a field")
        found[field] = _text(field, fact)
    return found


def _text(field: str, fact: Any) -> str:
    if fact is None:
        return ""
    if isinstance(fact, bool):
        return "true" if fact else "false"
    if isinstance(fact, int):
        fact = str(fact)
    if not isinstance(fact, str):
        shown = repr(fact)[:MOST_OF_A_NAME]
        raise refuse(f"facts.{field} {shown} is neither text nor a whole number, true, false or null", f"send {field} as text")
    if len(fact) > MOST_CHARACTERS:
        raise refuse(f"facts.{field} has {len(fact)} characters, too many", f"send at most {MOST_CHARACTERS}")
    if any(c < " " and c not in "\t\n\r" for c in fact):
        raise refuse(f"facts.{field} has characters that are not allowed", f"check {field} at its source")
    return fact.strip()


class CustomerFacts(Wire):
    """What changed about a customer."""

    customer: Name
    changed_at: Instant
    sequence: Sequence
    facts: Annotated[dict[str, str], PlainValidator(_facts)]


ADAPTER: TypeAdapter[CustomerFacts] = TypeAdapter(CustomerFacts)
