"""The documentation page works without a network."""

from __future__ import annotations

import re

from connectors.api.app import create_api
from tests.support.api_fakes import Client, Fake, ports


def test_the_documentation_page_brings_its_scripts_along() -> None:
    """Everything it loads is our own, and there."""
    client = Client(create_api(ports(Fake())))
    page = client.get("/docs")
    assert page.status_code == 200
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert loaded and all(path.startswith("/") for path in loaded)
    for path in loaded:
        assert client.get(path).status_code == 200, path
    assert "/v1/atp/{item}" in client.get("/openapi.json").json()["paths"]
