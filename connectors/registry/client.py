"""Calls of Confluent's registry API, and of Apicurio's own where Confluent's cannot say an id."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx

from connectors.texts import masked
from schemas.catalog import COMPATIBILITY, CommittedSchema

_CCOMPAT = "/apis/ccompat/v7"
_TIMEOUT_S = 30.0
_MANIFEST = {"systemName": "crossdock", "systemVersion": "3.3.3", "exportVersion": "3.0"}  # of the Apicurio it was tried with
_MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"


class RegistryError(Exception):
    """The registry cannot be reached, does not speak this API, or refuses. `code` is its own error code, 0 if it gave none.

    `is_mistake`: the URL is not a registry's.
    """

    def __init__(self, sentence: str, code: int = 0, *, is_mistake: bool = False) -> None:
        super().__init__(sentence)
        self.code = code
        self.is_mistake = is_mistake


@dataclass(frozen=True, slots=True)
class Compatibility:
    """Whether a schema may follow those of its subject, and the registry's reasons if not (some give none)."""

    is_compatible: bool
    reasons: tuple[str, ...] = ()


class RegistryClient:
    """One registry. `url` is its base, with user and password if it wants them: `http://user:password@host:8081`.

    Every call raises `RegistryError`, with a sentence that never holds the password.
    """

    def __init__(self, url: str, transport: httpx.BaseTransport | None = None) -> None:
        try:
            self._url = httpx.URL(url.rstrip("/"))
        except httpx.InvalidURL as error:
            raise RegistryError(f"{masked(url)[:200]!r} is no URL: {masked(str(error))}", is_mistake=True) from None
        if self._url.scheme not in ("http", "https") or not self._url.host:
            sentence = f"{self.name!r} is no URL of a registry: use http://host:port or https://host:port"
            raise RegistryError(sentence, is_mistake=True)
        headers = {"Accept": f"{_MEDIA_TYPE}, application/json"}
        self._http = httpx.Client(timeout=_TIMEOUT_S, transport=transport, headers=headers)
        self.is_apicurio = self._url.path.endswith(_CCOMPAT)

    def __enter__(self) -> RegistryClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._http.close()

    @property
    def name(self) -> str:
        """The URL, to be shown: without user and password."""
        return str(self._url.copy_with(username=None, password=None))

    def subjects(self) -> frozenset[str]:
        """The subjects there are, their context left out. The call to begin with: it says whether this is a registry."""
        try:
            found = self._call("GET", "/subjects")
        except RegistryError as error:
            if error.code in (404, 405):
                raise RegistryError(f"{self.name} is not a schema registry. {self._where()}", is_mistake=True) from None
            raise
        if not isinstance(found, list):
            raise RegistryError(f"{self.name} does not answer as a schema registry. {self._where()}", is_mistake=True)
        return frozenset(str(subject).rpartition(":")[2] for subject in found)

    def _where(self) -> str:
        return f"Apicurio's is below {_CCOMPAT}, a context of Confluent's below /contexts/.<name>"

    def schema_by_id(self, number: int) -> Any | None:
        """The schema under an id, as data; text if it is none of Avro's."""
        found = self._find("GET", f"/schemas/ids/{number}")
        return None if found is None else _data(found["schema"])

    def id_of(self, schema: CommittedSchema) -> int | None:
        """The id under which its subject holds this schema."""
        found = self._find("POST", f"/subjects/{quote(schema.subject)}", {"schema": schema.text})
        return None if found is None else int(found["id"])

    def versions(self, subject: str) -> list[Any]:
        """The schemas of a subject as data, oldest first."""
        path = f"/subjects/{quote(subject)}/versions"
        numbers = self._find("GET", path) or []
        return [_data(self._call("GET", f"{path}/{number}")["schema"]) for number in numbers]

    def compatibility(self, subject: str) -> str | None:
        """The compatibility level set for a subject."""
        found = self._find("GET", f"/config/{quote(subject)}")
        return None if found is None else str(found.get("compatibilityLevel", ""))

    def demand_compatibility(self, subject: str) -> None:
        """Have the registry hold a subject to `COMPATIBILITY`, whoever registers."""
        self._call("PUT", f"/config/{quote(subject)}", {"compatibility": COMPATIBILITY})

    def verdict(self, schema: CommittedSchema) -> Compatibility:
        """Whether the registry would take this schema as a subject's next version, by the level set for it."""
        path = f"/compatibility/subjects/{quote(schema.subject)}/versions?verbose=true"
        found = self._find("POST", path, {"schema": schema.text})
        if found is None:  # no such subject: nothing to be compatible with
            return Compatibility(True)
        return Compatibility(bool(found["is_compatible"]), tuple(str(reason) for reason in found.get("messages") or ()))

    def reserve(self, schemas: Sequence[CommittedSchema]) -> None:
        """Have schemas that are registered next get our ids, where `register` cannot ask for them."""
        # Apicurio's Confluent API passes over a wanted id. It imports contents under given ids, though, and a content that is
        # there keeps its id when it is registered, by the rules that imports are not held to.
        if self.is_apicurio and schemas:
            self._import_contents(schemas)

    def register(self, schema: CommittedSchema) -> int:
        """Register a schema as its subject's next version, with our id if the registry can. Gives the id it has there."""
        path = f"/subjects/{quote(schema.subject)}/versions"
        if self.is_apicurio:
            return int(self._call("POST", path, {"schema": schema.text})["id"])
        mode = f"/mode/{quote(schema.subject)}"
        self._call("PUT", f"{mode}?force=true", {"mode": "IMPORT"})
        try:
            wanted = {"schema": schema.text, "id": schema.id, "version": schema.version}
            return int(self._call("POST", path, wanted)["id"])
        finally:
            self._call("DELETE", mode)

    def withdraw(self, schema: CommittedSchema) -> None:
        """Take back what `register` has just registered."""
        found = self._find("POST", f"/subjects/{quote(schema.subject)}", {"schema": schema.text})
        if found is not None:
            path = f"/subjects/{quote(schema.subject)}/versions/{found['version']}"
            self._call("DELETE", path)
            self._find("DELETE", f"{path}?permanent=true")

    def _import_contents(self, schemas: Sequence[CommittedSchema]) -> None:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("manifest-1.Manifest.json", json.dumps(_MANIFEST))
            for schema in schemas:
                data = schema.text.encode()
                name = hashlib.sha256(data).hexdigest()
                meta = {"contentId": schema.id, "contentHash": name, "artifactType": "AVRO", "contentType": "application/json"}
                archive.writestr(f"content/{name}.Content.json", json.dumps(meta))
                archive.writestr(f"content/{name}.Content.data", data)
        base = self._url.copy_with(path=self._url.path.removesuffix(_CCOMPAT) + "/apis/registry/v3/admin/import")
        self._send(
            "POST",
            base.copy_merge_params({"requireEmptyRegistry": "false"}),
            content=packed.getvalue(),
            headers={"Content-Type": "application/zip", "X-Registry-Preserve-ContentId": "true"},
        )

    def _find(self, method: str, path: str, body: Any = None) -> Any | None:
        """What a call gives; none if there is no such thing."""
        try:
            return self._call(method, path, body)
        except RegistryError as error:
            if str(error.code).startswith("404"):
                return None
            raise

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        more: dict[str, Any] = {}
        if body is not None:
            more = {"content": json.dumps(body).encode(), "headers": {"Content-Type": _MEDIA_TYPE}}
        response = self._send(method, httpx.URL(f"{self._url}{path}"), **more)
        try:
            return response.json()
        except ValueError:
            sentence = f"{self.name} does not answer {method} {path} with JSON. {self._where()}"
            raise RegistryError(sentence, is_mistake=True) from None

    def _send(self, method: str, url: httpx.URL, **more: Any) -> httpx.Response:
        try:
            response = self._http.request(method, url, **more)
        except httpx.HTTPError as error:
            why = str(error) or type(error).__name__
            raise RegistryError(f"The registry at {self.name} cannot be reached: {why}. Does it run?") from None
        if response.is_success:
            return response
        code, sentence = _refusal(response)
        if response.status_code in (401, 403):
            hint = "give user and password in the URL: http://user:password@host:port"
            raise RegistryError(f"{self.name} refuses {method} {url.path} ({sentence}): {hint}", code)
        raise RegistryError(f"{self.name} answers {method} {url.path} with {response.status_code}: {sentence}", code)


def _data(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _refusal(response: httpx.Response) -> tuple[int, str]:
    """The registry's error code (the HTTP status if it gave none) and sentence."""
    try:
        body = response.json()
        return int(body.get("error_code", response.status_code)), str(body.get("message") or response.reason_phrase)[:500]
    except (ValueError, AttributeError, TypeError):
        return response.status_code, response.reason_phrase or "no reason given"
