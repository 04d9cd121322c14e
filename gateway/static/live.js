// Keeps a page's numbers fresh: asks for the same page now and then and puts its content in place of the old one. Without
// scripts a page is as it was when it was loaded.
"use strict";

const EVERY = 20000; // milliseconds
const LIVE = { "X-Estafette-Live": "1" }; // a page that looks by itself keeps nobody logged in

/** Whether somebody is in the middle of something that must not be swept away. */
function busy(content) {
  const selected = getSelection();
  return (
    document.hidden ||
    (selected && !selected.isCollapsed && content.contains(selected.anchorNode)) ||
    (document.activeElement !== content && content.contains(document.activeElement))
  );
}

async function refresh() {
  const content = document.getElementById("content");
  if (busy(content)) return;
  const answer = await fetch(location.href, { headers: LIVE, credentials: "same-origin", redirect: "error" });
  if (!answer.ok) return;
  const found = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("content");
  if (!found || busy(content)) return;
  const open = [...content.querySelectorAll("details")].map((one) => one.open);
  const at = [...content.querySelectorAll(".scroll")].map((one) => [one.scrollLeft, one.scrollTop]);
  content.replaceChildren(...found.childNodes);
  content.querySelectorAll("details").forEach((one, place) => (one.open = Boolean(open[place])));
  content.querySelectorAll(".scroll").forEach((one, place) => at[place] && one.scrollTo(...at[place]));
}

setInterval(() => refresh().catch(() => {}), EVERY);
