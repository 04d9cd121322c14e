// The answer box: Ctrl + Enter sends, a template is shown as soon as it is chosen by mouse or finger (by keyboard one looks
// through the list first, and presses the button), and nothing is sent twice by a second click. Without this file the same
// is done by buttons.
"use strict";

(() => {
  const box = (event) => event.target.closest("#composer");
  let keyed = false; // the last thing that was done in a list was done by a key

  const prepare = () => {
    const made = document.getElementById("composer");
    made?.querySelectorAll(".keys").forEach((one) => (one.hidden = false));
  };

  addEventListener("pointerdown", () => (keyed = false));

  document.addEventListener("keydown", (event) => {
    keyed = true;
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || !box(event)) return;
    event.target.form?.requestSubmit();
  });

  document.addEventListener("change", (event) => {
    if (box(event) && !keyed && event.target.matches("[data-choose]")) event.target.form.requestSubmit();
  });

  document.addEventListener("submit", (event) => {
    if (!event.target.matches("[data-send]")) return;
    if (event.target.dataset.sent) event.preventDefault();
    event.target.dataset.sent = "yes";
  });

  addEventListener("pageshow", () => {
    document.querySelectorAll("[data-sent]").forEach((one) => delete one.dataset.sent);
    prepare();
  });
  document.addEventListener("composer", prepare);
  prepare();
})();
