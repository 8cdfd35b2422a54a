// Runs before anything is painted, so that a page in the dark never flashes white.
try {
  const chosen = localStorage.getItem("carot-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // A browser that keeps nothing follows the system.
}
