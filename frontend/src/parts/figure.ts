/** A chart with its controls, which is drawn anew where its width changes or "redraw" is sent to it. */

import { h, save } from "../dom";
import { chartSvg, figureButtons, saveChartPng } from "./exports";

export function chartFigure(title: string, make: (width: number) => SVGSVGElement, name: string, keys: HTMLElement[], tools: HTMLElement[]): HTMLElement {
  const holder = h("div", { class: "plot" });
  const chart = (): SVGSVGElement => holder.firstElementChild as SVGSVGElement;
  const figure = h(
    "figure",
    { class: "view chart-view", "aria-label": title },
    h("div", { class: "tools" }, ...tools, ...keys, h("span", { class: "gap" }),
      figureButtons(() => saveChartPng(chart(), `${name}.png`), () => save(`${name}.svg`, chartSvg(chart()), "image/svg+xml"))),
    holder,
  );
  // As wide as the page gives room, so that letters keep their size.
  const redraw = (): void => holder.replaceChildren(make(Math.max(300, holder.clientWidth)));
  figure.addEventListener("redraw", redraw);
  let drawn = 0;
  new ResizeObserver(() => {
    if (holder.clientWidth === drawn) return;
    drawn = holder.clientWidth;
    redraw();
  }).observe(holder);
  return figure;
}
