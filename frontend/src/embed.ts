/** The viewer in a notebook or a report: the scenes are in the page, nothing is asked of a server. */

import { frontChart, type Front } from "./charts/front";
import { button, fileName, h, save } from "./dom";
import { chartFigure } from "./parts/figure";
import { Result } from "./parts/result";
import type { Scene } from "./types";

/** What `voigt.viewer` writes into the page. */
export interface Embedded {
  scenes: Scene[];
  /** Show the scene of this id first. */
  chosen: string | null;
  /** A Pareto front whose points choose the scene. */
  front: Front | null;
}

export function embed(root: HTMLElement, { scenes, chosen, front }: Embedded): void {
  const result = new Result();
  let shown: Scene | undefined;
  const show = (scene: Scene | undefined): void => {
    if (!scene || scene === shown) return;
    shown = scene;
    result.show(scene, null, { labels: [] });
    result.viewer.paint();
  };
  const first = scenes.find((scene) => scene.id === chosen) ?? scenes[0];
  if (front) {
    const figure = chartFigure(
      "Pareto front",
      (width) => frontChart(front, shown?.id ?? "", width, (id) => {
        show(scenes.find((scene) => scene.id === id));
        figure.dispatchEvent(new Event("redraw"));
        figure.querySelector<SVGGElement>(".point.here")?.focus();
      }),
      "pareto", [], [h("h1", {}, document.title)],
    );
    root.append(figure, h("p", { class: "small" }, "Choose a point to see its crystal and tensors. Gray: other crystals. Hollow: with a warning."));
  }
  root.append(result.element, h("footer", { class: "soft small" }, button("JSON", () => {
    if (shown) save(fileName(shown.id, ".json"), JSON.stringify(shown), "application/json");
  }, "this crystal as JSON")));
  show(first);
}
