"""What makes two customers alike: the same tax id, or the same name (and, where both are known, the same address), as people
write them: case, accents, punctuation, spacing and legal forms make no difference.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

_LEGAL_FORMS = frozenset(
    {
        *("gmbh", "ag", "kg", "ohg", "gbr", "ug", "eg", "ev", "se"),
        *("inc", "incorporated", "corp", "corporation", "co", "company", "ltd", "limited", "llc", "llp", "lp", "plc", "pty"),
        *("sa", "sas", "sasu", "sarl", "eurl", "srl", "spa", "snc", "sl", "slu"),
        *("bv", "nv", "ab", "as", "asa", "aps", "oy", "oyj", "doo", "sro", "zoo", "kft", "zrt"),
    }
)
_SMALL_WORDS = frozenset({"and", "und", "et", "the"})
_STREETS = {"street": "st", "str": "st", "strasse": "st", "road": "rd", "avenue": "ave", "av": "ave", "boulevard": "blvd"}
_LETTERS = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "ð": "d", "æ": "ae", "œ": "oe", "þ": "th", "\u0131": "i", "&": " and "})
_JOINING = dict.fromkeys(map(ord, ".'`\u2018\u2019\u00b4"), "")
_LEAST_TAX_ID = 5
_MOST_CHARACTERS = 200


def tax_likeness(tax_id: str | None) -> str | None:
    """The likeness of a tax id; none for one that says nothing: too short, or all of one character (000000000)."""
    text = tax_key(tax_id)
    return f"tax:{text}" if len(text) >= _LEAST_TAX_ID and len(set(text)) > 1 else None


def tax_key(tax_id: str | None) -> str:
    """A tax id without what people put between its characters."""
    return "".join(c for c in (tax_id or "").upper() if c.isalnum())[:_MOST_CHARACTERS]


def name_likeness(name: str) -> str | None:
    """The likeness of a name, none for one without letters or digits."""
    words = [word for word in _words(name) if word not in _SMALL_WORDS]
    text = "-".join(_without_legal_forms(words))[:_MOST_CHARACTERS]
    return f"name:{text}" if text else None


def address_key(contact: Mapping[str, str]) -> str:
    """Street and postal code (city, if there is none) as one text; "" while that is not known."""
    street = [_STREETS.get(word, word) for word in _words(contact.get("street", ""))]
    town = _words(contact.get("postal_code", "")) or _words(contact.get("city", ""))
    if not street or not town:
        return ""
    return f"{'-'.join(street)},{'-'.join(town)}"[:_MOST_CHARACTERS]


def _without_legal_forms(words: list[str]) -> list[str]:
    """`sp. z o.o.` comes as sp, z, oo. A name of nothing but legal forms keeps them."""
    kept = [word for word in words if word not in _LEGAL_FORMS]
    for at in range(len(kept) - 2):
        if kept[at : at + 3] == ["sp", "z", "oo"]:
            kept = kept[:at] + kept[at + 3 :]
            break
    return kept or words


def _words(text: str) -> list[str]:
    """Lower-case words of letters and digits; dots and apostrophes join (S.A., O'Brien), other signs part."""
    plain = unicodedata.normalize("NFKD", text.translate(_JOINING).casefold()).casefold().translate(_LETTERS)
    signs = ("" if unicodedata.combining(c) else c if c.isalnum() else " " for c in unicodedata.normalize("NFKD", plain))
    return "".join(signs).split()
