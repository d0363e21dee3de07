"""One POST: to the address that was checked and no other, within its time, whatever the other side does."""

from __future__ import annotations

import ipaddress
import socket

import pytest

from models.webhook_urls import Address, WebhookRules
from tests.receiver import LOOPBACK, receiving
from workers.webhooks.transport import Answer, post

RULES = WebhookRules(webhook_networks=LOOPBACK)
LONG = 60.0


class Names:
    """A resolver that answers with the next of its lists at each look-up."""

    def __init__(self, *lists: list[str]) -> None:
        self.lists, self.asked = list(lists), 0

    def __call__(self, host: str, port: int) -> list[Address]:
        self.asked += 1
        return [ipaddress.ip_address(each) for each in self.lists.pop(0)]


def test_the_address_that_was_checked_is_the_one_that_is_connected_to() -> None:
    """A name that would stand for another address at a second look-up: there is none."""
    names = Names(["127.0.0.1"], ["10.0.0.1"])
    with receiving(200) as receiver:
        url = f"http://hooks.example.com:{receiver.port}/a?b=c"
        assert post(url, {"x": "y"}, "{}", RULES, LONG, look_up=names) == Answer(200)
        path, headers, body = receiver.got[0]
    assert names.asked == 1
    assert (path, headers["host"], body) == ("/a?b=c", f"hooks.example.com:{receiver.port}", b"{}")


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254", "10.0.0.1"])
def test_a_name_that_stands_for_a_private_address_is_not_connected_to(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_connection(*_: object, **__: object) -> None:
        raise AssertionError("connected")

    monkeypatch.setattr(socket, "create_connection", no_connection)
    answer = post("https://hooks.example.com/", {}, "{}", WebhookRules(), LONG, look_up=Names([address]))
    assert answer.status is None
    assert "is no public address" in str(answer.error)


def test_a_public_name_needs_tls_although_networks_are_listed() -> None:
    answer = post("http://hooks.example.com/", {}, "{}", RULES, LONG, look_up=Names(["1.1.1.1"]))
    assert "https" in str(answer.error)


def test_of_several_addresses_the_allowed_ones_are_tried_in_turn() -> None:
    with receiving(200) as receiver:
        names = Names(["10.0.0.1", "127.0.0.9", "127.0.0.1"])  # not allowed; nobody listens; the receiver
        url = f"http://hooks.example.com:{receiver.port}/"
        assert post(url, {}, "{}", RULES, LONG, look_up=names).delivered


def test_redirects_are_not_followed() -> None:
    with receiving(302, location="http://127.0.0.1:1/elsewhere") as receiver:
        answer = post(receiver.url, {}, "{}", RULES, LONG)
        assert answer.status == 302
        assert "redirects are not followed" in str(answer.error)
        assert len(receiver.got) == 1


def test_an_answer_without_end_is_cut_and_counts_by_its_status() -> None:
    with receiving("endless") as receiver:
        assert post(receiver.url, {}, "{}", RULES, LONG).delivered


def test_a_receiver_that_drips_bytes_holds_nobody_longer_than_the_limit() -> None:
    with receiving("drip") as receiver:
        answer = post(receiver.url, {}, "{}", RULES, 0.3)
    assert answer == Answer(None, "no answer within 0.3 s")


def test_one_that_never_shakes_hands_holds_nobody_either() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/"
        assert post(url, {}, "{}", RULES, 0.3) == Answer(None, "no answer within 0.3 s")


def test_a_refused_connection_and_a_wait_that_is_asked_for_are_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        assert "ConnectError" in str(post(url, {}, "{}", RULES, LONG).error)
    with receiving(503, retry_after="120") as receiver:
        assert post(receiver.url, {}, "{}", RULES, LONG) == Answer(503, "HTTP 503", 120.0)
