"""Agents connect as every other client of the log is told to, or not at all."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import pytest
from faust.auth import SASLCredentials, SSLCredentials

from streams.agents.faust_security import credentials_of

SCRAM = {"security.protocol": "sasl_ssl", "sasl.mechanism": "SCRAM-SHA-512", "sasl.username": "act", "sasl.password": "secret"}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A certificate and its key."""
    directory = tmp_path_factory.mktemp("certificate")
    made, key = directory / "made.pem", directory / "key.pem"
    program = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=crossdock", "-days", "2"]
    subprocess.run([*program, "-keyout", key, "-out", made], check=True, capture_output=True)
    return str(made), str(key)


@pytest.mark.parametrize("clients", [{}, {"security.protocol": "PLAINTEXT"}, {"linger.ms": "5", "client.id": "x"}])
def test_without_security_nothing_is_asked_for(clients: dict[str, str]) -> None:
    assert credentials_of(clients) is None


def test_scram_over_tls_checks_who_the_broker_is(certificate: tuple[str, str]) -> None:
    found = credentials_of({**SCRAM, "ssl.ca.location": certificate[0]})
    assert isinstance(found, SASLCredentials)
    assert (found.protocol.value, found.mechanism.value) == ("SASL_SSL", "SCRAM-SHA-512")
    assert (found.username, found.password) == ("act", "secret")
    assert found.ssl_context is not None
    assert found.ssl_context.verify_mode is ssl.CERT_REQUIRED
    assert found.ssl_context.check_hostname
    assert len(found.ssl_context.get_ca_certs()) == 1


def test_a_certificate_of_our_own_and_an_authority_given_in_words(certificate: tuple[str, str]) -> None:
    words = Path(certificate[0]).read_text()
    given = {"ssl.ca.pem": words, "ssl.certificate.location": certificate[0], "ssl.key.location": certificate[1]}
    found = credentials_of({"security.protocol": "SSL", **given})
    assert isinstance(found, SSLCredentials)
    assert found.context.verify_mode is ssl.CERT_REQUIRED
    assert len(found.context.get_ca_certs()) == 1


def test_a_password_without_tls() -> None:
    found = credentials_of({**SCRAM, "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN"})
    assert isinstance(found, SASLCredentials)
    assert found.protocol.value == "SASL_PLAINTEXT"
    assert found.ssl_context is None


@pytest.mark.parametrize(
    ("name", "value", "checks"),
    [
        ("ssl.endpoint.identification.algorithm", "none", ssl.CERT_REQUIRED),
        ("enable.ssl.certificate.verification", "false", ssl.CERT_NONE),
    ],
)
def test_checks_that_were_turned_off_for_the_others_are_off_here(name: str, value: str, checks: ssl.VerifyMode) -> None:
    found = credentials_of({**SCRAM, name: value})
    assert isinstance(found, SASLCredentials)
    assert found.ssl_context is not None
    assert not found.ssl_context.check_hostname
    assert found.ssl_context.verify_mode is checks


@pytest.mark.parametrize(
    ("clients", "says"),
    [
        (
            {**SCRAM, "ssl.keystore.location": "store.p12"},
            r"agents cannot follow ssl\.keystore\.location: they understand .*ssl\.key",
        ),
        ({**SCRAM, "sasl.mechanism": "GSSAPI"}, "sasl.mechanism is GSSAPI: agents can use PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"),
        ({"security.protocol": "SASL_SSL"}, "sasl.mechanism is not given"),
        ({**SCRAM, "sasl.password": ""}, "sasl.password is not given"),
        ({"security.protocol": "TLS"}, "security.protocol is TLS: it is PLAINTEXT, SSL"),
        ({"security.protocol": "SSL", "ssl.ca.location": "nowhere.pem"}, "certificates of .* cannot be read: .*No such file"),
        ({"security.protocol": "SSL", "ssl.ca.pem": "no certificate"}, "certificates of .* cannot be read"),
    ],
)
def test_what_cannot_be_followed_is_said(clients: dict[str, str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        credentials_of(clients)
