"use strict";
document.documentElement.classList.add("scripts");

document.addEventListener("click", (event) => {
  const copy = event.target.closest("button.copy");
  if (copy) copyCommand(copy);
  const picture = event.target.closest(".enlarge, main .photo-and-boxes");
  if (picture) enlarge(picture.closest(".picture"));
});

function copyCommand(button) {
  const line = button.previousElementSibling;
  const done = () => {
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  };
  const select = () => {
    getSelection().selectAllChildren(line);
    if (document.execCommand("copy")) done();
  };
  if (navigator.clipboard) navigator.clipboard.writeText(line.textContent).then(done, select);
  else select();
}

const dialog = document.getElementById("enlarged");
let shown = null;

function enlarge(picture) {
  shown = picture;
  dialog.querySelector(".stage").replaceChildren(picture.cloneNode(true));
  if (!dialog.open) dialog.showModal();
}

function step(by) {
  const all = [...document.querySelectorAll("main .picture")];
  const next = all[all.indexOf(shown) + by];
  if (next) enlarge(next);
}

dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
  if (event.target.type === "button" && event.target.value) step(Number(event.target.value));
});
dialog.addEventListener("keydown", (event) => {
  if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
    step(event.key === "ArrowRight" ? 1 : -1);
    event.preventDefault();
  }
});
dialog.addEventListener("close", () => {
  if (!shown) return;
  for (let one = shown; (one = one.parentElement); ) if (one.tagName === "DETAILS") one.open = true;
  shown.scrollIntoView({ block: "nearest" });
  shown.querySelector(".enlarge").focus();
});

addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll("details.card")) folded.open = true;
});
