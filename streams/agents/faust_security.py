"""Security settings for agents: librdkafka's properties, as Faust's Kafka client has them."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

from faust.auth import SASLCredentials, SSLCredentials
from faust.types.auth import CredentialsT

_PASSED_ON = frozenset(
    {
        "security.protocol",
        "sasl.mechanism",
        "sasl.mechanisms",
        "sasl.username",
        "sasl.password",
        "ssl.ca.location",
        "ssl.ca.pem",
        "ssl.certificate.location",
        "ssl.key.location",
        "ssl.key.password",
        "ssl.endpoint.identification.algorithm",
        "enable.ssl.certificate.verification",
    }
)
_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


def credentials_of(clients: Mapping[str, str]) -> CredentialsT | None:
    """What Faust connects with, by the properties that every client gets; none for PLAINTEXT.

    Properties that tune librdkafka have no meaning here and are left to it. Raises `ValueError` for a security property that
    cannot be followed: an agent that connects otherwise than it was told would be worse than none.
    """
    given = {name: str(value) for name, value in clients.items()}
    unknown = sorted(name for name in given if name.startswith(("ssl.", "sasl.")) and name not in _PASSED_ON)
    if unknown:
        raise ValueError(f"agents cannot follow {', '.join(unknown)}: they understand {', '.join(sorted(_PASSED_ON))}")
    protocol = given.get("security.protocol", "plaintext").upper()
    if protocol == "PLAINTEXT":
        return None
    if protocol not in ("SSL", "SASL_SSL", "SASL_PLAINTEXT"):
        raise ValueError(f"security.protocol is {protocol}: it is PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL")
    context = _ssl_context(given) if protocol != "SASL_PLAINTEXT" else None
    if protocol == "SSL":
        return SSLCredentials(context)
    mechanism = given.get("sasl.mechanism", given.get("sasl.mechanisms", ""))
    if mechanism not in _MECHANISMS:
        raise ValueError(f"sasl.mechanism is {mechanism or 'not given'}: agents can use {', '.join(_MECHANISMS)}")
    for name in ("sasl.username", "sasl.password"):
        if not given.get(name):
            raise ValueError(f"{name} is not given: {mechanism} needs it")
    return SASLCredentials(
        username=given["sasl.username"], password=given["sasl.password"], ssl_context=context, mechanism=mechanism
    )


def _ssl_context(given: Mapping[str, str]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=given.get("ssl.ca.location"), cadata=given.get("ssl.ca.pem"))
        if "ssl.certificate.location" in given:
            context.load_cert_chain(
                given["ssl.certificate.location"], given.get("ssl.key.location"), given.get("ssl.key.password")
            )
    except OSError as error:
        raise ValueError(f"the certificates of [kafka.clients] cannot be read: {error}") from None
    if given.get("ssl.endpoint.identification.algorithm", "https") == "none":
        context.check_hostname = False
    if given.get("enable.ssl.certificate.verification", "true") == "false":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
