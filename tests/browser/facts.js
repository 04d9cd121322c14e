// What a page is like, for `test_look`. `colours`: look at those too.
(colours) => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const name = (one) => `${one.tagName.toLowerCase()}.${one.getAttribute("class") || ""} ${(one.textContent || "").trim().slice(0, 30)}`;
  const shown = (one) => one.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && one.getClientRects().length > 0;
  const said = (one) =>
    (one.getAttribute("aria-label") || one.textContent || "").trim() || [...one.querySelectorAll("img")].map((image) => image.alt).join("").trim();
  const ids = all("[id]").map((one) => one.id);

  const channels = (color) => {
    const found = color.match(/[\d.]+/g).map(Number);
    return { rgb: found.slice(0, 3), alpha: found.length > 3 ? found[3] : 1 };
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((one) => (one / 255 <= 0.03928 ? one / 255 / 12.92 : ((one / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (one) => {
    const frame = one.closest("svg.graph g.box");
    if (one.matches(".here-text")) return channels(getComputedStyle(one.parentElement.querySelector("rect.here")).fill).rgb;
    if (frame) return channels(getComputedStyle(frame.querySelector(".frame")).fill).rgb;
    for (let place = one; place; place = place.parentElement) {
      const found = channels(getComputedStyle(place).backgroundColor);
      if (found.alpha === 1) return found.rgb;
    }
    return [255, 255, 255];
  };
  const faint = [];
  for (const one of colours ? all("body *") : []) {
    const text = [...one.childNodes].some((part) => part.nodeType === 3 && part.textContent.trim());
    if (!text || !shown(one) || one.closest(".unseen, .skip-link, title, option, script")) continue;
    const style = getComputedStyle(one);
    const ink = channels(one.closest("svg") ? style.fill : style.color).rgb;
    const [high, low] = [light(ink), light(behind(one))].sort((a, b) => b - a);
    const size = parseFloat(style.fontSize);
    const enough = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
    if ((high + 0.05) / (low + 0.05) < enough) faint.push(`${name(one)} ${((high + 0.05) / (low + 0.05)).toFixed(2)}`);
  }

  return {
    lang: document.documentElement.lang,
    title: document.title,
    headings: all("h1, h2, h3, h4").filter(shown).map((one) => Number(one.tagName[1])),
    mains: all("main").length,
    banners: all("body > header").length,
    unnamedNavs: all("nav").filter((one) => !one.getAttribute("aria-label")).length,
    unlabelled: all("input:not([type=hidden]), select, textarea")
      .filter((one) => !one.labels?.length && !one.getAttribute("aria-label"))
      .map(name),
    unnamed: all("a, button, summary").filter((one) => !said(one)).map(name),
    pictures: all("img:not([alt]), svg:not([aria-label]):not([aria-hidden] *):not(svg svg)").map(name),
    twice: ids.filter((one, place) => ids.indexOf(one) !== place),
    outside: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    small: all("a, button, input:not([type=hidden]), select, summary")
      .filter((one) => shown(one) && !one.closest("p, td, dd, li:not(nav li) p, .skip-link"))
      .filter((one) => (one.labels?.[0] || one).getBoundingClientRect().height < 24)
      .map(name),
    faint,
  };
};
