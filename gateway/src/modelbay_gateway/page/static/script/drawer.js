const scrim = () => document.getElementById("scrim");
let shown = null;

/**
 * A side of the page that is always there where it is wide, and slides in where it is not.
 *
 * @param {HTMLElement} side
 * @param {HTMLElement} button opens it
 * @param {string} wide a media query: from there on it is always there
 */
export class Drawer {
  #side;
  #button;
  #wide;

  constructor(side, button, wide) {
    this.#side = side;
    this.#button = button;
    this.#wide = matchMedia(wide);
    const settle = () => {
      if (shown === this) this.close();
      side.inert = !this.#wide.matches;
    };
    this.#wide.addEventListener("change", settle);
    settle();
    side.addEventListener("keydown", (event) => event.key === "Escape" && this.close());
    scrim().addEventListener("click", () => this.close());
  }

  open() {
    if (!this.#wide.matches) {
      shown?.close();
      shown = this;
      this.#side.inert = false;
      this.#side.classList.add("shown");
      scrim().hidden = false;
      document.getElementById("chat").inert = true;
      this.#button.setAttribute("aria-expanded", "true");
    }
    this.#side.querySelector("input, button").focus();
  }

  close() {
    if (shown !== this) return;
    shown = null;
    this.#side.classList.remove("shown");
    this.#side.inert = !this.#wide.matches;
    scrim().hidden = true;
    document.getElementById("chat").inert = false;
    this.#button.setAttribute("aria-expanded", "false");
    this.#button.focus();
  }
}
