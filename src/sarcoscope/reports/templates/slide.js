"use strict";
(() => {
  const control = document.getElementById("strength");
  const tissue = document.getElementById("tissue");
  const tiles = document.getElementById("tiles");
  if (!control || !tissue || !tiles) return;
  const show = () => {
    const strength = Number(control.value) / 100;
    tiles.style.opacity = String(strength);
    tissue.style.filter = `grayscale(${strength}) contrast(${1 - 0.15 * strength}) brightness(${1 + 0.06 * strength})`;
  };
  control.addEventListener("input", show);
  control.closest("label").hidden = false;
  show();
})();
