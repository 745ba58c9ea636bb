// Sets the colour theme before the first paint; a classic script, because modules run too late for that.
(() => {
  const stored = (() => {
    try {
      return localStorage.getItem("tuner-theme");
    } catch {
      return null;
    }
  })();
  document.documentElement.dataset.theme = stored === "light" || stored === "dark" ? stored : "system";
})();
