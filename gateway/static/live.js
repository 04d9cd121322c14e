// Keeps a page's numbers fresh: asks for the same page now and then and puts its content in place of the old one. Without
// scripts a page is as it was when it was loaded.
"use strict";

const EVERY = 20000; // milliseconds
const LIVE = { "X-Estafette-Live": "1" }; // a page that looks by itself keeps nobody logged in
const STOPS = "a, button, summary, input, [tabindex]"; // where the keyboard's focus can stand

/** Whether somebody is in the middle of something that must not be swept away. */
function busy(content) {
  const selected = getSelection();
  return document.hidden || Boolean(selected && !selected.isCollapsed && content.contains(selected.anchorNode));
}

async function refresh() {
  const content = document.getElementById("content");
  if (busy(content)) return;
  const answer = await fetch(location.href, { headers: LIVE, credentials: "same-origin", redirect: "error" });
  if (!answer.ok) return;
  const found = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("content");
  if (!found || busy(content)) return;
  const all = (selector) => [...content.querySelectorAll(selector)].reverse(); // what comes and goes stands on top
  const open = all("details").map((one) => one.open);
  const ticked = all("[type=checkbox]").map((one) => one.checked);
  const at = all(".scroll").map((one) => [one.scrollLeft, one.scrollTop]);
  const stood = all(STOPS).indexOf(document.activeElement);
  content.replaceChildren(...found.childNodes);
  all("details").forEach((one, place) => (one.open = Boolean(open[place])));
  all("[type=checkbox]").forEach((one, place) => (one.checked = Boolean(ticked[place])));
  all(".scroll").forEach((one, place) => at[place] && one.scrollTo(...at[place]));
  if (stood >= 0) all(STOPS)[stood]?.focus({ preventScroll: true });
}

setInterval(() => refresh().catch(() => {}), EVERY);
