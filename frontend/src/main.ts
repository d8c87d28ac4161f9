import "./style.css";
import { Page } from "./app/page";
import { embed, type Embedded } from "./embed";

const data = document.getElementById("voigt-scenes");
const root = document.getElementById("voigt") ?? document.body;
if (data?.textContent) {
  document.documentElement.classList.add("embedded");
  embed(root, JSON.parse(data.textContent) as Embedded);
} else {
  Object.assign(window, { voigt: new Page(root) });
}
