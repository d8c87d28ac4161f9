// Walks through the page in a browser and writes what it finds as JSON: node walk.mjs ADDRESS CHROMIUM FOLDER
// FOLDER holds the files to drop (quartz.cif, ...); downloads and screenshots go there.

import fs from "node:fs";
import path from "node:path";
import { createRequire } from "node:module";

const [address, chromium, folder, modules] = process.argv.slice(2);
const { chromium: browserType } = createRequire(path.join(modules, "x.js"))("playwright-core");
const found = { console: [], requests: [] };

const browser = await browserType.launch({
  executablePath: chromium,
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-gl=angle", "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
  ],
});
const context = await browser.newContext({ viewport: { width: 1400, height: 1000 }, acceptDownloads: true });
const page = await context.newPage();
page.setDefaultTimeout(90_000);
page.on("console", (message) => {
  // Refusals are answers of the server; the drivers of a software renderer report their speed.
  if (!/GL Driver Message|Failed to load resource/.test(message.text())) found.console.push(message.text());
});
page.on("pageerror", (error) => found.console.push(String(error)));
page.on("request", (request) => found.requests.push(request.url()));

const settled = () =>
  page.waitForFunction(() => !document.documentElement.classList.contains("busy"), null, { timeout: 90_000 });

async function drop(name) {
  const content = fs.readFileSync(path.join(folder, name)).toString("base64");
  await page.evaluate(
    ({ name, content }) => {
      const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
      const data = new DataTransfer();
      data.items.add(new File([bytes], name));
      document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
    },
    { name, content },
  );
  await settled();
}

const rows = () =>
  page.$$eval('[data-property="born_charges"] tbody tr', (lines) =>
    lines.map((line) => [...line.children].map((cell) => cell.innerText.split(/\s*independent/)[0])));

async function download(act, name) {
  const [file] = await Promise.all([page.waitForEvent("download"), act()]);
  await file.saveAs(path.join(folder, name));
  return file.suggestedFilename();
}

/** Shares of orange and blue, the colors of the two signs, in a picture. */
const colors = (selector) =>
  page.$eval(selector, (canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let [orange, blue, all] = [0, 0, 0];
    for (let k = 0; k < data.length; k += 4) {
      const [r, g, b] = [data[k], data[k + 1], data[k + 2]];
      all += 1;
      if (r > g + 40 && g > b + 15) orange += 1;
      if (b > g + 15 && g > r + 30) blue += 1;
    }
    return [orange / all, blue / all];
  });

const trouble = () => page.$eval(".trouble", (element) => element.innerText);
const sleep = (ms) => page.waitForTimeout(ms);

await page.goto(address);
await page.waitForSelector(".periodic .element");
found.title = await page.title();
found.elements = await page.$$eval(".periodic .element", (cells) => cells.length);

// Quartz
await drop("quartz.cif");
found.heading = await page.innerText(".crystal");
found.born = await rows();
found.sections = await page.$$eval("[data-property]", (parts) => parts.map((part) => part.dataset.property));
found.zeros = await page.$$eval('[data-property="eps_inf"] .zero', (cells) => cells.length);
found.free = await page.$$eval('[data-property="eps_inf"] .free', (cells) => cells.length);
await drop("quartz.cif"); // warm
found.drawnMs = Number(await page.evaluate(() => document.documentElement.dataset.drawn));
await sleep(200);
found.colors = await colors(".view.first canvas");

// Turning: by keys and with the pointer, both views at once
const orientation = () => page.evaluate(() => window.voigt.orientation);
const picture = (selector) => page.$eval(selector, (canvas) => canvas.toDataURL());
const views = [".view.first canvas", ".view:not(.first) canvas"];
const before = [await orientation(), ...(await Promise.all(views.map(picture)))];
await page.focus(views[0]);
await page.keyboard.press("ArrowRight");
await sleep(200);
found.turnedByKey = [before[0], await orientation()];
found.bothTurned = (await Promise.all(views.map(picture))).map((image, k) => image !== before[k + 1]);
await page.locator(views[0]).scrollIntoViewIfNeeded();
const box = await page.locator(views[0]).boundingBox();
await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
await page.mouse.down();
await page.mouse.move(box.x + box.width / 2 + 120, box.y + box.height / 2 + 40, { steps: 4 });
await page.mouse.up();
found.turnedByPointer = [found.turnedByKey[1], await orientation()];
await page.click('button[title="look along c"]');
found.alongC = await orientation();

// What the pointer is on: along the middle line of the picture there are atoms.
found.hover = "";
for (let k = 1; k < 40 && !found.hover; k++) {
  await page.mouse.move(box.x + (box.width * k) / 40, box.y + box.height / 2);
  found.hover = await page.evaluate(() => (document.querySelector(".tip").hidden ? "" : document.querySelector(".tip").innerText));
}
await page.selectOption(".view:not(.first) select", "elastic");
await page.mouse.move(box.x + box.width * 1.4, box.y + box.height / 2);
await sleep(200);
found.hoverSurface = await page.evaluate(() => document.querySelector(".tip").innerText);

// Files
found.bornName = await download(() => page.click('.files button:text-is("BORN")'), "out.BORN");
await download(() => page.click('.files button:text-is("CSV")'), "out.csv");
await download(() => page.click('.files button:text-is("JSON")'), "out.json");
await download(() => page.click('.files button:text-is("extXYZ")'), "out.extxyz");
await download(() => page.click('.view.first button:text-is("PNG")'), "out.png");
await download(() => page.click('.view.first button:text-is("SVG")'), "out.svg");
found.command = await page.innerText(".snippet pre");

// Names for those who do not see the page
found.nameless = await page.$$eval("button, select, input, textarea, canvas, a, summary", (parts) =>
  parts
    .filter((part) => !part.textContent.trim() && !part.getAttribute("aria-label") && !part.labels?.length && !part.title)
    .map((part) => part.outerHTML.slice(0, 120)));
found.live = await page.$$eval('[aria-live="polite"], [role="alert"]', (parts) => parts.length);
await page.locator("header").scrollIntoViewIfNeeded();
await page.evaluate(() => document.activeElement?.blur());
found.tabs = [];
for (let k = 0; k < 16; k++) {
  await page.keyboard.press("Tab");
  found.tabs.push(await page.evaluate(() => document.activeElement?.tagName));
}
await page.screenshot({ path: path.join(folder, "page-1400.png"), fullPage: true });
await page.emulateMedia({ colorScheme: "dark" });
await sleep(200);
found.dark = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
await page.emulateMedia({ colorScheme: "light" });
await page.setViewportSize({ width: 390, height: 844 });
await sleep(200);
found.width390 = await page.evaluate(() => document.documentElement.scrollWidth);
await page.screenshot({ path: path.join(folder, "page-390.png"), fullPage: true });
await page.setViewportSize({ width: 1400, height: 1000 });

// An example, pasted text, several structures in a file
await page.click('.examples button:has-text("MgO")');
await settled();
found.example = await page.innerText(".crystal");
await page.click(".paste summary");
await page.fill(".paste textarea", fs.readFileSync(path.join(folder, "pasted.vasp"), "utf8"));
await page.click('.paste button:text-is("Predict")');
await settled();
found.pasted = await page.innerText(".crystal");
await drop("three.xyz");
found.several = await page.$$eval(".chooser option", (options) => options.length);
await page.selectOption(".chooser select", "1");
found.second = await page.innerText(".crystal");

// What cannot be predicted
found.refused = {};
for (const name of ["garbage.cif", "unseen.vasp", "large.vasp"]) {
  await drop(name);
  found.refused[name] = [await trouble(), await page.locator(".result").isVisible()];
}
await drop("metal.vasp");
found.metal = await page.$$eval(".notes.warn li", (items) => items.map((item) => item.innerText));

found.marked = await page.$$eval("[data-property] .mark", (marks) => marks.length);

// A phonopy project
await drop("project.zip");
await page.waitForSelector(".phonons .chart", { timeout: 120_000 });
found.phonons = await page.innerText(".phonons h2");
found.charts = await page.$$eval(".phonons .chart", (charts) => charts.map((chart) => chart.getAttribute("aria-label")));
found.splitting = await page.$$eval(".phonons .tensor-card:first-child tbody tr", (lines) =>
  lines.map((line) => [...line.children].map((cell) => cell.innerText)));
const path0 = await page.$eval(".phonons > figure .curve.nac", (curve) => curve.getAttribute("d"));
await page.locator(".phonons > figure .slide input").last().fill("60");
found.slider = path0 !== (await page.$eval(".phonons > figure .curve.nac", (curve) => curve.getAttribute("d")));
const frame = () => picture(".phonons .stage");
const still = await frame();
await sleep(400);
found.moves = still !== (await frame());
await download(() => page.locator('.phonons > figure button:text-is("SVG")').click(), "infrared.svg");

await browser.close();
fs.writeFileSync(path.join(folder, "found.json"), JSON.stringify(found));
