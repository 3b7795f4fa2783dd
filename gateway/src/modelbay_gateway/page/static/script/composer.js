import { element, icon } from "./element.js";
import { addressOf } from "./history.js";
import { complain } from "./notice.js";
import { Failure } from "./failure.js";

const MOST_BYTES = 10 * 1024 * 1024; // of one image: a kept message has at most 16 MiB, as base64
const TYPES = ["image/png", "image/jpeg", "image/gif", "image/webp"];

/**
 * Where a question is written. Events: `ask` with `.text` and `.images`, `stop`, and `clear` with
 * `.what`, which is `once` or `beside`.
 */
export class Composer extends EventTarget {
  #images = [];
  #form;
  #field;
  #shown = element("ul", { class: "attached", "aria-label": "Images", hidden: true });
  #chips = element("div", { class: "chips" });
  #send;
  #stop;
  #isBusy = false;

  constructor(form) {
    super();
    this.#form = form;
    this.#field = element("textarea", { id: "question", rows: "1", placeholder: "Ask something", "aria-label": "Question" });
    const file = element("input", { type: "file", accept: TYPES.join(","), multiple: true, hidden: true, "aria-label": "Images to attach" });
    const attach = element("button", { type: "button", class: "icon", "aria-label": "Attach images" }, icon("M20 11l-8.500 8.500a5 5 0 0 1-7-7L13 4a3.300 3.300 0 0 1 4.700 4.700l-8.500 8.500a1.600 1.600 0 0 1-2.300-2.300L15 7"));
    this.#send = element("button", { class: "main" }, "Send");
    this.#stop = element("button", { type: "button", class: "stop", hidden: true }, "Stop");
    form.append(this.#chips, this.#shown, element("div", { class: "write" }, attach, this.#field, this.#stop, this.#send), file);
    attach.addEventListener("click", () => file.click());
    file.addEventListener("change", () => {
      this.#attach(file.files);
      file.value = "";
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#ask();
    });
    form.addEventListener("dragover", (event) => event.dataTransfer.types.includes("Files") && event.preventDefault());
    form.addEventListener("drop", (event) => {
      if (!event.dataTransfer.files.length) return;
      event.preventDefault();
      this.#attach(event.dataTransfer.files);
    });
    this.#field.addEventListener("paste", (event) => event.clipboardData.files.length && this.#attach(event.clipboardData.files));
    this.#field.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        this.#ask();
      }
    });
    this.#stop.addEventListener("click", () => this.dispatchEvent(new Event("stop")));
  }

  focus() {
    this.#field.focus();
  }

  /** What is written and not asked yet: `{text, images}`. */
  get draft() {
    return { text: this.#field.value, images: this.#images };
  }

  set draft({ text, images }) {
    this.#field.value = text;
    this.#images = images;
    this.#showImages();
  }

  /** Give back what was asked, so that nobody types it twice; what was written since stays. */
  restore(text, images) {
    const now = this.draft;
    this.draft = { text: [text, now.text].filter(Boolean).join("\n"), images: [...images, ...now.images] };
  }

  /** Say why nothing can be asked here. */
  close(reason) {
    for (const each of this.#form.querySelectorAll("button, textarea, input")) each.disabled = true;
    this.#field.placeholder = reason;
  }

  set busy(isBusy) {
    const hadFocus = [this.#stop, this.#send].includes(document.activeElement);
    this.#isBusy = isBusy;
    this.#stop.hidden = !isBusy;
    this.#send.hidden = isBusy;
    if (hadFocus) this.#field.focus();
  }

  /** Which models answer the next turn beside, or instead of, the conversation's. */
  show({ once, beside }) {
    const chips = [];
    if (once) chips.push(this.#chip("once", "Next turn only", once));
    if (beside) chips.push(this.#chip("beside", "Side by side with", beside));
    this.#chips.replaceChildren(...chips);
  }

  #chip(what, label, id) {
    const close = element("button", { type: "button", class: "icon", "aria-label": `${label} ${id}: take back` }, icon("M7 7l10 10M17 7L7 17"));
    close.addEventListener("click", () => {
      const event = new Event("clear");
      event.what = what;
      this.dispatchEvent(event);
      this.focus();
    });
    return element("span", { class: "chip", data: { what } }, `${label} `, element("strong", {}, id), close);
  }

  #ask() {
    const text = this.#field.value.trim();
    if (this.#isBusy || (!text && !this.#images.length)) return;
    const event = new Event("ask");
    event.text = text;
    event.images = this.#images;
    this.#field.value = "";
    this.#images = [];
    this.#showImages();
    this.dispatchEvent(event);
  }

  async #attach(files) {
    for (const file of files) {
      try {
        this.#images.push(await read(file));
      } catch (caught) {
        complain(caught);
      }
    }
    this.#showImages();
    this.focus();
  }

  #showImages() {
    this.#shown.hidden = !this.#images.length;
    this.#shown.replaceChildren(
      ...this.#images.map((image) => {
        const close = element("button", { type: "button", class: "icon", "aria-label": `Leave out ${image.name}` }, icon("M7 7l10 10M17 7L7 17"));
        close.addEventListener("click", () => {
          this.#images = this.#images.filter((each) => each !== image);
          this.#showImages();
          this.focus();
        });
        return element("li", {}, element("img", { src: addressOf(image), alt: image.name }), close);
      }),
    );
  }
}

async function read(file) {
  if (!TYPES.includes(file.type)) {
    throw new Failure({ message: `${file.name} is no image that models read`, hint: "PNG, JPEG, GIF or WebP" });
  }
  if (file.size > MOST_BYTES) {
    throw new Failure({ message: `${file.name} is larger than 10 MiB`, hint: "make it smaller" });
  }
  const address = await new Promise((done, failed) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => done(reader.result));
    reader.addEventListener("error", () => failed(reader.error));
    reader.readAsDataURL(file);
  });
  return { type: "image", media_type: file.type, data: address.slice(address.indexOf(",") + 1), name: file.name };
}
