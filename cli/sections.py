"""The order in which ``errata --help`` lists the commands: those of the road first, those of the operator last."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

SECTIONS: dict[str, tuple[str, ...]] = {
    "From problems to a trained model": (
        *("problems", "presets", "estimate", "inject", "jobs", "pairs", "datasets"),
        *("train", "runs", "eval", "compare", "studies", "campaigns", "models"),
    ),
    "Access": ("login", "logout", "keys", "usage", "audit", "workspaces", "webhooks", "mcp"),
    "The service, for its operator": (
        *("demo", "serve", "api", "worker", "sweeper", "trainer", "migrate", "health"),
        *("backup", "restore", "verify", "purge"),
    ),
}


class Sections(TyperGroup):
    """Commands under headings. One that no heading names stands under the last."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write every section with the first line of each command's help."""
        named = {name for names in SECTIONS.values() for name in names}
        there = self.list_commands(ctx)
        last = next(reversed(SECTIONS))
        width = max(map(len, there))
        for title, names in SECTIONS.items():
            listed = [name for name in names if name in there]
            listed += [name for name in there if name not in named] if title == last else []
            rows = []
            for name in listed:
                command = self.get_command(ctx, name)
                if command is not None and not command.hidden:
                    rows.append((name.ljust(width), command.get_short_help_str(formatter.width - width - 6)))
            with formatter.section(title):
                formatter.write_dl(rows)
