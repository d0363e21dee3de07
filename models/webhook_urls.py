"""Which addresses a webhook may lead to: public ones over TLS, and networks that the operator lists.

An address is checked when it is registered, as far as its text tells. What a name stands for is looked up and checked
when something is sent, and the connection goes to the very address that was checked (workers.webhooks.transport): a
name that changes in between leads nowhere else.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, field_validator

MOST_URL = 2_000
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_LOCAL_NAMES = (".localhost", ".local", ".internal", ".lan", ".home.arpa")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
#: Of no public host, though Python's lists of this version say so: IANA's special-purpose registries.
_SPECIAL = tuple(ipaddress.ip_network(each) for each in ("192.0.0.0/24", "192.88.99.0/24", "3fff::/20"))
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)
_MOST_NAME = 253


class WebhookRules(BaseModel):
    """What the operator allows webhooks to reach. Part of the settings of the API and of the workers."""

    webhook_networks: str | None = Field(
        None, description="Networks beside the public ones that webhooks may reach, such as 10.0.0.0/8,::1/128."
    )
    webhook_ports: str = Field("443,8443", description="Ports of public addresses that webhooks may reach.")

    @field_validator("webhook_networks")
    @classmethod
    def _networks(cls, value: str | None) -> str | None:
        try:
            _parsed(value)
        except ValueError as error:
            raise ValueError(f"{error}; give networks with commas between, such as 10.0.0.0/8,::1/128") from None
        return value

    @field_validator("webhook_ports")
    @classmethod
    def _ports(cls, value: str) -> str:
        if not all(port.strip().isdecimal() and 0 < int(port) < 65536 for port in value.split(",")):
            raise ValueError("give ports with commas between, such as 443,8443")
        return value

    def lists(self, address: Address) -> bool:
        """Whether the operator lists a network with this address; then any scheme and port will do."""
        return any(address in network for network in _parsed(self.webhook_networks))

    def allows_port(self, port: int) -> bool:
        """Whether public addresses may be reached at this port."""
        return port in {int(each) for each in self.webhook_ports.split(",")}


def _parsed(networks: str | None) -> list[Network]:
    return [ipaddress.ip_network(each.strip()) for each in (networks or "").split(",") if each.strip()]


class RefusedAddress(ValueError):
    """A webhook may not lead there; says why and what to give instead."""


def check_url(url: str, rules: WebhookRules) -> tuple[str, str, int]:
    """Scheme, host and port of an address. Raises RefusedAddress for what can be seen to be none without a look-up."""
    if not url.isascii() or not url.isprintable() or " " in url or len(url) > MOST_URL:
        raise RefusedAddress(f"give at most {MOST_URL} printable ASCII characters without spaces")
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme, parts.hostname or "", parts.port
    except ValueError:
        raise RefusedAddress("this is no URL; give one such as https://example.com/hooks") from None
    if scheme not in ("https", "http") or not host:
        raise RefusedAddress("give a URL such as https://example.com/hooks")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise RefusedAddress("give a URL without user, password and fragment; requests are signed instead")
    port = port or (443 if scheme == "https" else 80)
    literal = _literal(host)
    if literal is not None:
        check_address(literal, scheme, port, rules)
    else:
        _check_name(host.removesuffix("."))
    if literal is None and not rules.webhook_networks:
        if "." not in host.rstrip(".") or host.rstrip(".").lower().endswith(_LOCAL_NAMES):
            raise RefusedAddress(f"{host} is no public name; the operator may list its network")
        _check_public(scheme, port, rules)
    return scheme, host, port


def _check_name(name: str) -> None:
    """Raises RefusedAddress for what no name is. One that ends in a number is an address in a form of long ago."""
    labels = name.split(".")
    if len(name) > _MOST_NAME or not all(_LABEL.fullmatch(label) for label in labels):
        raise RefusedAddress("this is no name of a host; give a URL such as https://example.com/hooks")
    if _NUMBER.fullmatch(labels[-1]):
        raise RefusedAddress(f"{name} is neither a name nor an address; write an IPv4 address as four decimal numbers")


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def check_address(address: Address, scheme: str, port: int, rules: WebhookRules) -> None:
    """Raises RefusedAddress where the operator does not list the address and it is not public, over TLS, at a port."""
    plain = inner_address(address)
    if rules.lists(plain):
        return
    if not is_public(plain):
        raise RefusedAddress(f"{plain} is no public address; the operator may list its network")
    _check_public(scheme, port, rules)


def _check_public(scheme: str, port: int, rules: WebhookRules) -> None:
    if scheme != "https":
        raise RefusedAddress("give an https:// URL; http is for networks that the operator lists")
    if not rules.allows_port(port):
        raise RefusedAddress(f"port {port} is not among those allowed ({rules.webhook_ports})")


def inner_address(address: Address) -> Address:
    """The address that packets reach: of IPv6 forms that hold an IPv4 address, that one."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    low = int(address) & 0xFFFFFFFF
    if address in _NAT64 or (int(address) >> 32 == 0 and low > 1):
        return ipaddress.IPv4Address(low)
    return address


def is_public(address: Address) -> bool:
    """Whether an address is one of the public internet: not private, link-local, shared, multicast or reserved."""
    if isinstance(address, ipaddress.IPv6Address) and (address.is_site_local or address.teredo is not None):
        return False
    if any(address in network for network in _SPECIAL):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)
