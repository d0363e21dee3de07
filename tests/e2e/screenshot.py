"""The README's picture: ``make screenshot`` starts a service, makes pairs of the rows below, and takes docs/pair.png.

Everything on it is real: the pair, its proof and its values come from a job of that service. Needs chromium.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from errata_client import Errata
from tests.processes import ROOT, Running, environment

TARGET = ROOT / "docs" / "pair.png"
_CHROMIUM = Path("/usr/bin/chromium")
_FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
_SIZE = {"width": 1280, "height": 860}
_ROWS = (
    (
        "Mara packs 6 crates with 12 pears each. She sells 45 pears at the market and cooks the rest into jam, which"
        " takes 3 pears per jar. How many jars does she fill?",
        "Mara packs 6 * 12 = <<6*12=72>>72 pears.\nAfter the market 72 - 45 = <<72-45=27>>27 pears are left.\n"
        "She fills 27 / 3 = <<27/3=9>>9 jars.\n#### 9",
    ),
    (
        "A library buys 8 shelves for 14 books each and fills all but 19 places. How many books does it have, if 5 of"
        " them are lent?",
        "The shelves have 8 * 14 = <<8*14=112>>112 places.\nOf these 112 - 19 = <<112-19=93>>93 are filled.\n"
        "With those that are lent it has 93 + 5 = <<93+5=98>>98 books.\n#### 98",
    ),
)


def take() -> None:
    """Make the pairs and write the picture. Raises RuntimeError where no step pair with a chain of values came."""
    with tempfile.TemporaryDirectory(prefix="errata-screenshot-") as home:
        serve = Running("serve", "--port", "0", "--no-trainer", env=environment(Path(home)))
        with serve, Errata(serve.url()) as errata:
            rows = [{"question": question, "answer": answer} for question, answer in _ROWS]
            posted = errata.problem_sets.create("Pears and books", rows, solutions="reference")
            brought = {"sampling": {"source": "brought"}}
            job = errata.injection_jobs.create(posted.id, preset="rules", config=brought, name="Pears and books")
            errata.injection_jobs.wait(job.id)
            pairs = [pair for pair in errata.pairs.list(job=job.id) if pair.evidence_kind == "replay"]
            if not pairs:
                raise RuntimeError("no pair proven by replay came; change the rows")
            _picture(f"{serve.url()}/pairs/{min(pairs, key=lambda pair: (pair.step_index or 0, pair.id)).id}")


def _picture(url: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=_FLAGS)
        page = browser.new_page(viewport=_SIZE, color_scheme="light", device_scale_factor=1.5)
        page.goto(url)
        page.screenshot(path=TARGET)
        browser.close()


if __name__ == "__main__":
    take()
    sys.stderr.write(f"wrote {TARGET}\n")
