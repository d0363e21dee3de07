// Refreshes what may change, and steps through pairs by the arrow keys. Every page works without it.
"use strict";

const FAST_MS = 2000; // while something runs
const SLOW_MS = 10000; // to notice new work
const offline = document.querySelector("[data-offline]");

function isLive(box) {
  const inner = box.querySelector("[data-live]");
  return inner !== null && inner.dataset.live === "1";
}

async function refresh(box) {
  let wait = SLOW_MS;
  if (!document.hidden) {
    try {
      const answer = await fetch(box.dataset.refresh, { credentials: "same-origin" });
      if (answer.status === 401) {
        window.location.reload();
        return;
      }
      if (answer.ok) {
        show(box, await answer.text());
      }
      offline.hidden = true;
    } catch {
      offline.hidden = false;
    }
    wait = isLive(box) ? FAST_MS : SLOW_MS;
  }
  window.setTimeout(refresh, wait, box);
}

// The server escaped the fragment. What a person opened, selected or focused is left alone.
function show(box, html) {
  const selection = window.getSelection();
  const busy = selection !== null && !selection.isCollapsed && box.contains(selection.anchorNode);
  if (busy || box.dataset.shown === html) {
    return;
  }
  const open = [...box.querySelectorAll("details")].map((details) => details.open);
  const focused = box.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  box.innerHTML = html;
  box.dataset.shown = html;
  box.querySelectorAll("details").forEach((details, i) => {
    details.open = open[i] === true;
  });
  if (focused !== null) {
    [...box.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused)?.focus({ preventScroll: true });
  }
}

for (const box of document.querySelectorAll("[data-refresh]")) {
  window.setTimeout(refresh, isLive(box) ? FAST_MS : SLOW_MS, box);
}

document.addEventListener("keydown", (event) => {
  const modified = event.altKey || event.ctrlKey || event.metaKey || event.shiftKey;
  const typing = event.target instanceof Element && event.target.closest("input, textarea, select, [contenteditable]");
  if (modified || typing) {
    return;
  }
  const rel = { ArrowLeft: "prev", ArrowRight: "next" }[event.key];
  const act = /^[a-z]$/.test(event.key) ? `[data-key="${event.key}"]` : null;
  const target = rel !== undefined ? document.querySelector(`a[rel="${rel}"]`) : act && document.querySelector(act);
  if (target) {
    event.preventDefault();
    target.click();
  } else if (event.key === "r" && document.getElementById("reason") !== null) {
    event.preventDefault(); // or the letter would be its first
    document.getElementById("reason").focus();
  }
});
