"""Where webhooks may lead: public addresses over TLS, and what the operator lists; every disguise of others is seen."""

from __future__ import annotations

import ipaddress

import pytest
from pydantic import ValidationError

from models.webhook_urls import RefusedAddress, WebhookRules, check_address, check_url

PUBLIC = WebhookRules()
LISTED = WebhookRules(webhook_networks="10.0.0.0/8, fd00::/8")


@pytest.mark.parametrize(
    "url",
    ["https://example.com/hooks", "https://example.com:8443/", "https://1.1.1.1/", "https://example.com./",
     "https://a1.b-c._d.com/", "https://[2606:4700::1111]/a?b=c",
     "https://[::ffff:1.1.1.1]/"],
)  # fmt: skip
def test_public_addresses(url: str) -> None:
    check_url(url, PUBLIC)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/", "ftp://example.com/", "https:///x", "example.com", "https://example.com:22/",
        "https://user:secret@example.com/", "https://example.com/#part", "https://example.com:port/",
        "https://example.com/\n", "https://exämple.com/", "https://[::1", "https://example.com/" + "x" * 2000,
        "https://localhost/", "https://db/", "https://a.internal/", "https://printer.local./",
        "https://127.0.0.1/", "https://0.0.0.0/", "https://10.1.2.3/", "https://172.16.0.1/", "https://192.168.1.1/",
        "https://169.254.169.254/latest/meta-data/", "https://100.64.0.1/", "https://224.0.0.1/", "https://240.0.0.1/",
        "https://[::]/", "https://[::1]/", "https://[fe80::1]/", "https://[fe80::1%25eth0]/", "https://[fc00::1]/",
        "https://[fec0::1]/", "https://[ff02::1]/", "https://[::ffff:10.1.2.3]/", "https://[::ffff:7f00:1]/",
        "https://2130706433/", "https://0177.0.0.1/", "https://127.1/", "https://0x7f.0.0.1/", "https://1.0x/",
        "https://.example.com/", "https://example..com/", f"https://{'a' * 64}.com/", f"https://{'a.' * 130}com/",
        "https://-a.com/", "https://a b.com/", "https://192.0.0.8/", "https://192.88.99.1/", "https://[3fff::1]/",
        "https://[64:ff9b:1::7f00:1]/",
        "https://[::7f00:1]/", "https://[64:ff9b::a9fe:a9fe]/", "https://[2002:a01:203::1]/", "https://[2001::1]/",
    ],
)  # fmt: skip
def test_everything_else_is_refused_with_a_reason(url: str) -> None:
    with pytest.raises(RefusedAddress) as refused:
        check_url(url, PUBLIC)
    assert str(refused.value)


def test_listed_networks_take_any_scheme_and_port_and_nothing_else_changes() -> None:
    check_url("http://10.1.2.3:9000/", LISTED)
    check_url("http://[::ffff:10.1.2.3]:9000/", LISTED)
    check_url("http://hooks:9000/", LISTED)  # what the name stands for is checked when something is sent
    for url in ("https://192.168.1.1/", "https://169.254.169.254/", "http://1.1.1.1/"):
        with pytest.raises(RefusedAddress):
            check_url(url, LISTED)
    with pytest.raises(RefusedAddress, match="https"):
        check_address(ipaddress.ip_address("1.1.1.1"), "http", 80, LISTED)


@pytest.mark.parametrize(("name", "value"), [("webhook_networks", "10.0.0.1/8"), ("webhook_ports", "443,x")])
def test_settings_that_cannot_be_say_what_to_give(name: str, value: str) -> None:
    with pytest.raises(ValidationError, match="with commas between"):
        WebhookRules.model_validate({name: value})
