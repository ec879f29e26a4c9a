"""Time zones as an ERP writes them: IANA names however cased and padded, and the names Windows has for them."""

from __future__ import annotations

from functools import cache
from zoneinfo import available_timezones

_WINDOWS = {
    "dateline standard time": "Etc/GMT+12",
    "hawaiian standard time": "Pacific/Honolulu",
    "alaskan standard time": "America/Anchorage",
    "pacific standard time": "America/Los_Angeles",
    "pacific standard time (mexico)": "America/Tijuana",
    "us mountain standard time": "America/Phoenix",
    "mountain standard time": "America/Denver",
    "mountain standard time (mexico)": "America/Mazatlan",
    "central standard time": "America/Chicago",
    "central standard time (mexico)": "America/Mexico_City",
    "central america standard time": "America/Guatemala",
    "canada central standard time": "America/Regina",
    "eastern standard time": "America/New_York",
    "us eastern standard time": "America/Indiana/Indianapolis",
    "eastern standard time (mexico)": "America/Cancun",
    "sa pacific standard time": "America/Bogota",
    "atlantic standard time": "America/Halifax",
    "sa western standard time": "America/La_Paz",
    "venezuela standard time": "America/Caracas",
    "pacific sa standard time": "America/Santiago",
    "newfoundland standard time": "America/St_Johns",
    "e. south america standard time": "America/Sao_Paulo",
    "argentina standard time": "America/Argentina/Buenos_Aires",
    "sa eastern standard time": "America/Cayenne",
    "montevideo standard time": "America/Montevideo",
    "greenland standard time": "America/Nuuk",
    "azores standard time": "Atlantic/Azores",
    "cape verde standard time": "Atlantic/Cape_Verde",
    "utc": "UTC",
    "coordinated universal time": "UTC",
    "gmt standard time": "Europe/London",
    "greenwich standard time": "Atlantic/Reykjavik",
    "morocco standard time": "Africa/Casablanca",
    "w. europe standard time": "Europe/Berlin",
    "central europe standard time": "Europe/Budapest",
    "romance standard time": "Europe/Paris",
    "central european standard time": "Europe/Warsaw",
    "w. central africa standard time": "Africa/Lagos",
    "gtb standard time": "Europe/Bucharest",
    "e. europe standard time": "Europe/Chisinau",
    "fle standard time": "Europe/Kiev",
    "egypt standard time": "Africa/Cairo",
    "south africa standard time": "Africa/Johannesburg",
    "israel standard time": "Asia/Jerusalem",
    "kaliningrad standard time": "Europe/Kaliningrad",
    "turkey standard time": "Europe/Istanbul",
    "arabic standard time": "Asia/Baghdad",
    "arab standard time": "Asia/Riyadh",
    "e. africa standard time": "Africa/Nairobi",
    "russian standard time": "Europe/Moscow",
    "iran standard time": "Asia/Tehran",
    "arabian standard time": "Asia/Dubai",
    "afghanistan standard time": "Asia/Kabul",
    "pakistan standard time": "Asia/Karachi",
    "west asia standard time": "Asia/Tashkent",
    "india standard time": "Asia/Kolkata",
    "sri lanka standard time": "Asia/Colombo",
    "nepal standard time": "Asia/Kathmandu",
    "bangladesh standard time": "Asia/Dhaka",
    "myanmar standard time": "Asia/Yangon",
    "se asia standard time": "Asia/Bangkok",
    "china standard time": "Asia/Shanghai",
    "singapore standard time": "Asia/Singapore",
    "taipei standard time": "Asia/Taipei",
    "w. australia standard time": "Australia/Perth",
    "tokyo standard time": "Asia/Tokyo",
    "korea standard time": "Asia/Seoul",
    "cen. australia standard time": "Australia/Adelaide",
    "aus central standard time": "Australia/Darwin",
    "e. australia standard time": "Australia/Brisbane",
    "aus eastern standard time": "Australia/Sydney",
    "tasmania standard time": "Australia/Hobart",
    "west pacific standard time": "Pacific/Port_Moresby",
    "new zealand standard time": "Pacific/Auckland",
    "fiji standard time": "Pacific/Fiji",
}


def zone_name(text: str) -> str:
    """The IANA name meant; the text without its padding where nobody knows what is meant."""
    name = text.strip()
    return _known().get(name.lower(), name)


@cache
def _known() -> dict[str, str]:
    return {name.lower(): name for name in available_timezones()} | _WINDOWS
