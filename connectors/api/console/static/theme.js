// Before anything is painted: the theme somebody chose. Without a choice it is the system's.
(() => {
  const chosen = localStorage.getItem("crossdock.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
