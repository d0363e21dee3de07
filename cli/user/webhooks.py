"""``errata webhooks``: addresses that are told of what happens, and what became of every message."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.user.connection import AsJson, Url, connected
from cli.user.output import ago, listed, print_json, print_record, print_rows, say

webhooks = typer.Typer(help="Webhooks: addresses that are told when jobs end.", no_args_is_help=True)
WebhookId = Annotated[str, typer.Argument(help="Its id: hook_...")]
DeliveryId = Annotated[str, typer.Argument(help="A delivery's id: msg_...")]


def _fields(found: Any) -> dict[str, Any]:
    return {
        "url": found.url,
        "state": "enabled" if found.enabled else f"disabled: {found.disabled_reason}",
        "events": listed(found.events),
        "description": found.description,
        "failing since": ago(found.failing_since),
        "last delivered": ago(found.delivered_at),
    }


@webhooks.command("create")
def create(
    address: Annotated[str, typer.Argument(help="Where messages go: https://...")],
    event: Annotated[list[str] | None, typer.Option(help="A type such as dataset.succeeded; default: all.")] = None,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Register an address. Its secret is printed, this once."""
    with connected(url) as errata:
        made = errata.webhooks.create(address, events=event, description=description)
        if as_json:
            print_record(made.id, {}, made, as_json=True)
            return
        say(f"{made.id} is told of {len(made.events)} kinds of events; its secret, shown only now:")
        print(made.secret)


@webhooks.command("list")
def list_webhooks(url: Url = None, as_json: AsJson = False) -> None:
    """List webhooks, newest first."""
    columns: dict[str, Any] = {
        "id": lambda row: row.id,
        "url": lambda row: row.url,
        "state": lambda row: "enabled" if row.enabled else "disabled",
        "events": lambda row: len(row.events),
        "last delivered": lambda row: ago(row.delivered_at),
    }
    with connected(url) as errata:
        print_rows(errata.webhooks.list(), columns, as_json=as_json, empty="There are no webhooks.")


@webhooks.command("show")
def show(webhook: WebhookId, url: Url = None, as_json: AsJson = False) -> None:
    """Show a webhook."""
    with connected(url) as errata:
        found = errata.webhooks.get(webhook)
        print_record(found.id, _fields(found), found, as_json=as_json)


@webhooks.command("enable")
def enable(webhook: WebhookId, url: Url = None, as_json: AsJson = False) -> None:
    """Send again, what waits included."""
    with connected(url) as errata:
        errata.webhooks.update(webhook, enabled=True)
        _tell_state(webhook, "enabled", as_json=as_json)


@webhooks.command("disable")
def disable(webhook: WebhookId, url: Url = None, as_json: AsJson = False) -> None:
    """Send nothing until it is enabled; events meanwhile are not kept for it."""
    with connected(url) as errata:
        errata.webhooks.update(webhook, enabled=False)
        _tell_state(webhook, "disabled", as_json=as_json)


@webhooks.command("rotate")
def rotate(
    webhook: WebhookId,
    overlap_hours: Annotated[float, typer.Option(help="For so long the old secret signs as well.")] = 24.0,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Replace the secret that signs. The new one is printed, this once."""
    with connected(url) as errata:
        made = errata.webhooks.rotate(webhook, overlap_hours=overlap_hours)
        if as_json:
            print_record(made.id, {}, made, as_json=True)
            return
        say(f"{webhook} is signed with a new secret, and with the old one for {overlap_hours:g} hours; shown only now:")
        print(made.secret)


@webhooks.command("delete")
def delete(webhook: WebhookId, url: Url = None, as_json: AsJson = False) -> None:
    """Delete a webhook with its deliveries."""
    with connected(url) as errata:
        errata.webhooks.delete(webhook)
        _tell_state(webhook, "deleted", as_json=as_json)


@webhooks.command("test")
def send_test(webhook: WebhookId, url: Url = None, as_json: AsJson = False) -> None:
    """Have a test message sent; `errata webhooks deliveries` tells what came of it."""
    with connected(url) as errata:
        made = errata.webhooks.test(webhook)
        print_record(made.id, {"type": made.type, "state": made.state}, made, as_json=as_json)


@webhooks.command("deliveries")
def deliveries(
    webhook: WebhookId,
    state: Annotated[str | None, typer.Option(help="pending, delivered or failed.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List what was sent or is to be sent, oldest first."""
    columns: dict[str, Any] = {
        "id": lambda row: row.id,
        "type": lambda row: row.type,
        "state": lambda row: row.state,
        "attempts": lambda row: row.attempts,
        "answer": lambda row: row.error or row.status_code or "",
        "made": lambda row: ago(row.created_at),
    }
    with connected(url) as errata:
        found = errata.webhooks.deliveries(webhook, state=state)
        print_rows(found, columns, as_json=as_json, empty="There are no deliveries.")


@webhooks.command("redeliver")
def redeliver(webhook: WebhookId, delivery: DeliveryId, url: Url = None, as_json: AsJson = False) -> None:
    """Have a message sent again."""
    with connected(url) as errata:
        made = errata.webhooks.redeliver(webhook, delivery)
        print_record(made.id, {"type": made.type, "state": made.state}, made, as_json=as_json)


def _tell_state(webhook: str, state: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"id": webhook, "state": state})
    else:
        say(f"{webhook} is {state}")
