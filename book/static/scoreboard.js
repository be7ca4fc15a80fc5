// Filters of the scoreboard. The state lives in the address (scoreboard.html?paper=...&verdict=...), so that it can be linked to.
// Without this script the form stays hidden and every claim is visible.
(() => {
  const form = document.getElementById("filters");
  const shown = document.getElementById("shown");
  const claims = [...document.querySelectorAll("div.claim")];
  const fields = [...form.querySelectorAll("select")];

  function apply() {
    const wanted = fields.filter((f) => f.value).map((f) => `${f.name}-${f.value}`);
    let count = 0;
    for (const claim of claims) {
      const match = wanted.every((name) => claim.classList.contains(name));
      claim.hidden = !match;
      count += match;
    }
    for (const section of document.querySelectorAll("section section")) {
      const inside = [...section.querySelectorAll("div.claim")];
      section.hidden = inside.length > 0 && inside.every((c) => c.hidden);
    }
    shown.textContent = `${count} of ${claims.length} claims`;
  }

  function address() {
    const query = new URLSearchParams(fields.filter((f) => f.value).map((f) => [f.name, f.value])).toString();
    try {
      history.replaceState(null, "", query ? `?${query}` : location.pathname);
    } catch {
      // Some browsers refuse this for files; the filter itself works without.
    }
  }

  const start = new URLSearchParams(location.search);
  for (const field of fields) {
    const value = start.get(field.name) || "";
    if ([...field.options].some((o) => o.value === value)) field.value = value;
  }
  form.addEventListener("change", () => { apply(); address(); });
  form.addEventListener("reset", () => setTimeout(() => { apply(); address(); }));
  form.hidden = false;
  apply();
  // A link to one claim must show it whatever the filter says.
  function reveal() {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const claim = target && (target.closest("div.claim") || target.nextElementSibling);
    if (claim && claim.hidden) {
      for (const field of fields) field.value = "";
      apply();
    }
    if (target) target.scrollIntoView({ behavior: "instant" });
  }
  addEventListener("hashchange", reveal);
  if (location.hash) reveal();
})();
