const NAME = "modelbay-theme";
const dark = matchMedia("(prefers-color-scheme: dark)");

/** Light or dark: what the system says, until somebody says otherwise here. */
export function startTheme(button) {
  const show = () => {
    const chosen = localStorage.getItem(NAME);
    if (chosen) document.documentElement.dataset.theme = chosen;
    button.setAttribute("aria-pressed", String(isDark()));
  };
  button.addEventListener("click", () => {
    localStorage.setItem(NAME, isDark() ? "light" : "dark");
    show();
  });
  dark.addEventListener("change", show);
  show();
}

function isDark() {
  return (localStorage.getItem(NAME) ?? (dark.matches ? "dark" : "light")) === "dark";
}
