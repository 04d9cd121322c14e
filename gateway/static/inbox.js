// New messages appear by themselves: the gateway says that something changed, and the part of the page that shows it is
// loaded again. Without this file the pages are the same, and show what is new when they are loaded again.
"use strict";

(() => {
  const PAUSE = 1000; // milliseconds between two loads, at least
  const LATER = 30000; // milliseconds after which news that were refused are asked for again
  const LIVE = { "X-Estafette-Live": "1" }; // a page that looks by itself keeps nobody logged in
  const live = () => document.getElementById("live");
  let source = null;
  let wanted = null;
  let loading = false;

  if (!live() || !live().dataset.events || !window.EventSource) return;

  const listen = () => {
    if (source || document.hidden) return;
    source = new EventSource(live().dataset.events);
    source.addEventListener("mark", (event) => {
      wanted = event.data;
      refresh();
    });
    source.addEventListener("error", () => {
      if (!source || source.readyState !== EventSource.CLOSED) return; // else the browser tries again by itself
      rest();
      setTimeout(listen, LATER);
      fetch(location.href, { headers: LIVE, credentials: "same-origin" }).then(
        (answer) => answer.redirected && location.reload(), // the log-in is over
        () => {},
      );
    });
  };

  const rest = () => {
    if (source) source.close();
    source = null;
  };

  const refresh = async () => {
    if (loading || wanted === null || wanted === live().dataset.mark) return;
    loading = true;
    try {
      const answer = await fetch(location.pathname + location.search, { headers: LIVE, credentials: "same-origin" });
      if (answer.redirected) {
        location.reload(); // the log-in is over
        return;
      }
      if (answer.ok) replace(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch {
      // the next mark tries again
    } finally {
      setTimeout(() => {
        loading = false;
        refresh();
      }, PAUSE);
    }
  };

  const replace = (made) => {
    const old = live();
    const fresh = made.getElementById("live");
    if (!fresh || !fresh.dataset.mark) return;
    const room = document.documentElement;
    const atEnd = old.classList.contains("talk") && room.scrollHeight - room.scrollTop - room.clientHeight < 120;
    const held = old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    old.replaceWith(document.adoptNode(fresh));
    if (held) fresh.querySelector(`a[href="${CSS.escape(held)}"]`)?.focus({ preventScroll: true });
    compose(made);
    if (atEnd) room.scrollTo(0, room.scrollHeight);
    const news = document.getElementById("news");
    news.textContent = "";
    setTimeout(() => (news.textContent = news.dataset.said), 50); // said anew each time
  };

  // The answer box stays while somebody writes in it; what may be sent is looked at again when it is.
  const compose = (made) => {
    const old = document.getElementById("composer");
    const fresh = made.getElementById("composer");
    if (!old || !fresh || old.dataset.state === fresh.dataset.state || old.contains(document.activeElement)) return;
    const written = [...old.querySelectorAll("textarea, input:not([type=hidden])")];
    if (written.some((one) => one.value !== one.defaultValue)) return;
    old.replaceWith(document.adoptNode(fresh));
    document.dispatchEvent(new Event("composer"));
  };

  document.addEventListener("visibilitychange", () => (document.hidden ? rest() : listen()));
  addEventListener("pagehide", rest);
  addEventListener("pageshow", (event) => event.persisted && listen()); // the back button; a page just loaded listens below
  listen();
})();
