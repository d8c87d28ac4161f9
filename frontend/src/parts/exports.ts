/** Figures as files. */

import { button, h, save } from "../dom";
import type { Stage } from "../gl/stage";

const SHARPER = 3;

/** Buttons that save a figure; `make` gives the file of each kind. */
export const figureButtons = (png: () => void, vector: () => void): HTMLElement =>
  h("span", { class: "set", role: "group", "aria-label": "Save figure" },
    button("PNG", png, "this figure as PNG"), button("SVG", vector, "this figure as SVG"));

export const stageButtons = (stage: Stage, name: () => string): HTMLElement =>
  figureButtons(
    () => stage.picture(SHARPER).toBlob((blob) => blob && save(`${name()}.png`, blob)),
    () => save(`${name()}.svg`, pictureSvg(stage.picture(SHARPER), stage.canvas), "image/svg+xml"),
  );

/** A rendered picture inside an SVG file, for programs that place SVG. */
function pictureSvg(picture: HTMLCanvasElement, shown: HTMLCanvasElement): string {
  const [width, height] = [shown.clientWidth, shown.clientHeight];
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">` +
    `<image width="${width}" height="${height}" href="${picture.toDataURL("image/png")}"/></svg>\n`
  );
}

const STYLES = [
  "fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-opacity", "fill-opacity", "opacity", "text-anchor",
  "font-family", "font-size", "font-style", "font-weight", "paint-order",
];

/** A chart as a file of its own: the styles of the page become attributes, on a background. */
export function chartSvg(chart: SVGSVGElement): string {
  const copy = chart.cloneNode(true) as SVGSVGElement;
  const [from, to] = [chart.querySelectorAll("*"), copy.querySelectorAll("*")];
  from.forEach((element, k) => {
    const style = getComputedStyle(element);
    for (const name of STYLES) to[k]!.setAttribute(name, style.getPropertyValue(name));
  });
  const box = chart.viewBox.baseVal;
  const paper = getComputedStyle(document.documentElement).getPropertyValue("--paper").trim() || "#ffffff";
  const sheet = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  for (const [name, value] of [["width", box.width], ["height", box.height], ["fill", paper]] as const) sheet.setAttribute(name, String(value));
  copy.prepend(sheet);
  copy.setAttribute("width", String(box.width));
  copy.setAttribute("height", String(box.height));
  return `${new XMLSerializer().serializeToString(copy)}\n`;
}

export function saveChartPng(chart: SVGSVGElement, name: string): void {
  const box = chart.viewBox.baseVal;
  const url = URL.createObjectURL(new Blob([chartSvg(chart)], { type: "image/svg+xml" }));
  const image = new Image();
  image.onload = () => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [box.width * 3, box.height * 3];
    canvas.getContext("2d")!.drawImage(image, 0, 0, canvas.width, canvas.height);
    URL.revokeObjectURL(url);
    canvas.toBlob((blob) => blob && save(name, blob));
  };
  image.src = url;
}
