// Shows both answers as they grow. Without it the form is sent as any other, and both answers come whole.
"use strict";

const form = document.querySelector("form[data-ask]");
const stop = document.querySelector("[data-stop]");
const sides = [...document.querySelectorAll("[data-side]")];
let asking = null;

function part(side, name) {
  return side.querySelector(`[data-${name}]`);
}

function fail(side, message) {
  side.dataset.ended = "1";
  part(side, "error").textContent = message;
  part(side, "error").hidden = false;
  part(side, "status").textContent = "";
}

function take(told) {
  const side = sides[told.side];
  if (told.error !== undefined) {
    fail(side, told.error);
  } else if (told.end !== undefined) {
    part(side, "status").textContent = told.status;
    side.dataset.ended = "1";
  } else {
    part(side, "text").append(told.text); // as text, never as HTML
    part(side, "status").textContent = "writing";
  }
}

function clear(models) {
  sides.forEach((side, i) => {
    side.hidden = !models[i];
    side.dataset.ended = models[i] ? "" : "1";
    part(side, "model").textContent = models[i] || "";
    part(side, "text").textContent = "";
    part(side, "error").hidden = true;
    part(side, "status").textContent = models[i] ? "waiting" : "";
  });
}

async function ask() {
  const given = new URLSearchParams(new FormData(form));
  clear([given.get("left"), given.get("right")]);
  const answer = await fetch(form.dataset.ask, { method: "POST", body: given, signal: asking.signal });
  if (!answer.ok) {
    throw new Error(answer.status === 401 ? "sign in again, then ask" : "this was refused; look at what you gave");
  }
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) {
      sides.filter((side) => !side.dataset.ended).forEach((side) => fail(side, "the connection ended early"));
      return;
    }
    const messages = (rest + value).split("\n\n");
    rest = messages.pop();
    for (const message of messages) {
      if (message.startsWith("data: ")) {
        take(JSON.parse(message.slice(6)));
      }
    }
  }
}

form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  asking?.abort();
  const mine = new AbortController();
  asking = mine;
  stop.hidden = false;
  try {
    await ask();
  } catch (error) {
    if (mine === asking && error.name === "AbortError") {
      sides.forEach((side) => {
        part(side, "status").textContent = "stopped";
      });
    } else if (mine === asking) {
      sides.filter((side) => !side.hidden).forEach((side) => fail(side, error.message));
    }
  } finally {
    if (mine === asking) {
      stop.hidden = true;
    }
  }
});

stop?.addEventListener("click", () => asking?.abort());
