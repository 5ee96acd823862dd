// Runs before the first paint, so that the page never flashes in the wrong theme. A classic script on purpose.
(() => {
  const KEY = "qres-theme";
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");

  function stored() {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null; // storage may be forbidden; the system's preference then decides
    }
  }

  function apply() {
    const chosen = stored();
    root.dataset.theme = chosen === "dark" || chosen === "light" ? chosen : dark.matches ? "dark" : "light";
    dispatchEvent(new Event("qres-theme"));
  }

  function toggle() {
    const next = root.dataset.theme === "dark" ? "light" : "dark";
    try {
      localStorage.setItem(KEY, next);
      apply();
    } catch {
      root.dataset.theme = next;
      dispatchEvent(new Event("qres-theme"));
    }
  }

  dark.addEventListener("change", apply);
  apply();
  window.qresTheme = { toggle };
})();
